"""Mirrors: full copies of logs, verified entry by entry, that serve the same bytes."""
