"""Imported first, and only, in the process that engine cores are forked from: it ends with the service.

By itself it would live as long as any process that was forked from it.
"""

from shared.processes import die_with_parent

die_with_parent()
