"""``python -m mailwarren.devstack``."""

import sys

from mailwarren.devstack.main import main

if __name__ == "__main__":
    sys.exit(main())
