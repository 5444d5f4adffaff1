"""Corpora, trainings and experiments, and the records they leave. `fingerprint` and `records` never load torch."""
