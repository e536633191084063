"""RigFace: edits of expression, head pose and light that a 3D face steers (arXiv 2502.02465)."""
