"""How the project is run: on a laptop with nothing installed, with compose, on Kubernetes."""
