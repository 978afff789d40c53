"""Bytes on disk: the file seam, segments, tiles, checkpoints, keys. Knows nothing of HTTP, and nothing of trust."""
