"""``python -m`` and the package's name run a stage."""

import sys

from .cli import main

sys.exit(main())
