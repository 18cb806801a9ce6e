"""`python -m docs`; see `docs.build`, which worker processes can import, as they can't this."""

import sys

from docs.build import main

main(sys.argv[1:])
