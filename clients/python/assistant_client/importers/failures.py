"""What ends an import, with a message for the person who started it."""


class ImportFailure(Exception):
    """Nothing can be imported this way; the message says what to do."""


class UnreadableSource(ImportFailure):
    """A source that cannot be opened, or that is of no kind that is known."""
