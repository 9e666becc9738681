"""`captep demo`: the loop before CAPTEP-0016, its intervals alone, and captep, compared."""

from captep_demo._demo import demo

__all__ = ["demo"]
