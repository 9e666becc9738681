"""`python -m captep_cli`."""

import sys

from captep_cli import main

if __name__ == "__main__":
    sys.exit(main())
