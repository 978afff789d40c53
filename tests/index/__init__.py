"""Tests of the query index."""
