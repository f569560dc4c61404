class BackupError(Exception):
    """A backup or a restore cannot go on; the message is a sentence for whoever called it, with the remedy."""
