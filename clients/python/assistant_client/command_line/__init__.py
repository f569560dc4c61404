"""`assistant`: the client library on the command line. `main.py` has the whole of it; a file for each subject."""
