"""What keeps a served ledger going: probing its storage, indexing, and what the leading process tells the others."""
