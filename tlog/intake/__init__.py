"""Taking events in from writers who may send them twice."""
