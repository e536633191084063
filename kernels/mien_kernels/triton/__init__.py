"""Fused back end: Triton kernels that keep logits in registers, or a band of them, never N x N.

Runs on CUDA, and anywhere under ``TRITON_INTERPRET=1`` (slowly, for tests).
"""
