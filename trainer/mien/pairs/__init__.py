"""Pairs for face editors from any folder of videos: find, cut, label, pair, split, write."""
