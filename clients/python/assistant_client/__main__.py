"""`python -m assistant_client` is `assistant`."""

import sys

from assistant_client.command_line.main import main

sys.exit(main())
