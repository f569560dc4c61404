"""Answers that need no generation: cached ones, and those that are being generated for someone else already."""
