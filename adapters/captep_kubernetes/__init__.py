"""A gateway over the official Kubernetes client."""
