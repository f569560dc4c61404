"""Personal adapters: their store, what may come out of it, and which of them the engine holds."""
