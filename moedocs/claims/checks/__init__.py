"""The computations behind verdicts: each function finds a fact, and whether it is what the ledger says."""
