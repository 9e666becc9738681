"""Shows a run of a loop to people: an HTML page with every step and the difference that it made.

The page is one file without anything from a network. Callers pass objects whose Secrets are masked.
"""

from captep_show._difference import Change, Field, Objects, changes
from captep_show._page import Run, Sent, Step, page

__all__ = ["Change", "Field", "Objects", "Run", "Sent", "Step", "changes", "page"]
