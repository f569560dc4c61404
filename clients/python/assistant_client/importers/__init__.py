"""Reads people's own messages and contacts from where they have them, as the bodies that the gateway takes."""
