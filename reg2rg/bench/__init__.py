"""Benches: `plan` (ablations and methods as data → rows), `run` (train, generate, score, compare), `paper` (its tables)."""
