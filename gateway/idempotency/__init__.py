"""`Idempotency-Key` on requests that create (the IETF draft "The Idempotency-Key HTTP Header Field")."""
