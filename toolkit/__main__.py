"""`python -m toolkit` is the `offramp` command."""

import sys

from toolkit.cli import main

sys.exit(main())
