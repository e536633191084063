"""Faults on purpose: `python -m mien.faults` kills, tears and floods real sessions and says how they end."""
