"""`python -m penstock_serving --model DIR --name NAME --port PORT` serves a sealed model."""

import sys

from penstock_serving.cli import main

if __name__ == "__main__":
    sys.exit(main())
