"""Code of the device: Triton kernels and their parts."""
