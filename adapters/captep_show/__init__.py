"""Shows a run of a loop to people: an HTML page with every step and the difference that it made.

The page is one file that needs no network. `masked` covers the values of Secrets in the objects
that it shows, and in every other output.
"""

from captep_show._difference import Change, Field, Objects, changes, named
from captep_show._file import write_file
from captep_show._mask import Show, as_it_is, masked
from captep_show._page import Run, Sent, Step, page

__all__ = [
    "Change",
    "Field",
    "Objects",
    "Run",
    "Sent",
    "Show",
    "Step",
    "as_it_is",
    "changes",
    "masked",
    "named",
    "page",
    "write_file",
]
