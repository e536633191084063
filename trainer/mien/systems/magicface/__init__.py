"""MagicFace: one person's expression moved by differences of action units."""
