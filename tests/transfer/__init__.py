"""Tests of what fetches: the ledger and its proofs, the threads around it, sources, the cache."""
