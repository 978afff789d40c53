"""Audit events in the forms of other projects, and back, without loss."""
