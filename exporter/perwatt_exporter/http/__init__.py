"""HTTP: the server of both daemons, bounded connections, negotiation, errors."""
