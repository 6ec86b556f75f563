"""``python -m slim_bindings.examples`` is ``slim-examples``."""

import sys

from slim_bindings.examples._command import main

sys.exit(main())
