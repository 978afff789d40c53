"""The client of a log over HTTP: it appends, and it reads what it has verified."""
