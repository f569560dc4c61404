"""Work that is accepted now and done later. The only importers of arq."""
