"""The CAPTControlPlane domain: what an EKS control plane made by Terraform through Crossplane needs
next.
"""
