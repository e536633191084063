"""Public benchmarks in their official layouts: readers, checks, and generators of small sets of each."""
