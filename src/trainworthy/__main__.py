"""``python -m trainworthy`` is the command line."""

import sys

from trainworthy.cli.main import main

sys.exit(main())
