"""Imported first, and only, in the process that engine cores are forked from: it ends with the service.

By itself it would live as long as any process that was forked from it.
"""

import gc

from shared.processes import die_with_parent

die_with_parent()
gc.disable()  # imports are a quarter faster, see `ml_service.processes`; nothing else happens here, and engine cores enable it again
