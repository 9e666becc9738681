"""The in-memory API server over HTTP, as a context manager."""

from captep_memory._http import Disturb, Disturbance, Logged, Server

__all__ = ["Disturb", "Disturbance", "Logged", "Server"]
