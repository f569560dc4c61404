"""Everything on one machine with nothing installed: embedded PostgreSQL and Valkey, and every process of the project."""
