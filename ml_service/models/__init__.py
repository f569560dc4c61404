"""Which models there are, where their weights lie, and how a conversation becomes their tokens."""
