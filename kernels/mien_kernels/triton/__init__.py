"""Fused back end: Triton kernels that keep logits in registers, or one band of them, and never N x N in memory.

Runs on CUDA, and anywhere under ``TRITON_INTERPRET=1`` (slowly, for tests).
"""
