"""The in-memory API server over HTTP, as a context manager."""

from captep_memory._http import Disturb, Disturbance, HTTPFacade, Logged

__all__ = ["Disturb", "Disturbance", "HTTPFacade", "Logged"]
