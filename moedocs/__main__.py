"""`python -m moedocs`."""

import sys

from moedocs.cli import main

if __name__ == "__main__":
    sys.exit(main())
