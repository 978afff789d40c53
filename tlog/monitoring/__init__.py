"""Monitors: they follow logs, read every entry, and say what is wrong or was asked for."""
