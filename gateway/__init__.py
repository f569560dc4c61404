"""The gateway: accounts, devices, sync, conversations, drafts, feedback; the one service that clients talk to."""
