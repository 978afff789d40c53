"""The query index: derived from the entries, never trusted, deleted and rebuilt at will."""
