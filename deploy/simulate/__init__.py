"""How large the system is, and what breaks first, at any number of accounts: `python -m deploy.simulate`; docs/SCALE.md tells of it."""
