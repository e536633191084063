"""Sweeps: many trials of one recipe, taken by any number of workers, none lost and none done twice."""
