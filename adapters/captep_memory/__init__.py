"""An in-memory API server with the semantics of the real one, and the world around a control plane."""
