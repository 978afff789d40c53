"""Torture: power loss, failing disks, killed processes and load, against the real library."""
