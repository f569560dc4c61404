"""The ML service: it owns the model, and keeps nothing that cannot be rebuilt."""
