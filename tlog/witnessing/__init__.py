"""Witnesses: who cosigns what logs sign, and remembers it, so that no log can show two trees."""
