"""The engine that generates: its protocol, vLLM behind it, a double for tests, and the supervisor that keeps one alive."""
