"""What auditors read: statistics, and a report whose proofs they check."""
