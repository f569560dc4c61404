"""The endpoints: thin handlers, one module for each group of the documented API."""
