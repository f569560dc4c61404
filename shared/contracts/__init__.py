"""The wire between the two services: one definition for both ends.

Plain dataclasses whose constraints come from `annotated_types`: FastAPI validates and documents them, the gateway encodes and
decodes the same classes with msgspec.
"""
