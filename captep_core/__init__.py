"""The pure core: what a CAPTControlPlane needs next, decided from what was observed."""
