"""What a plan has to assume, each with its reason; the command line changes the ones that differ most."""

from __future__ import annotations

from dataclasses import dataclass

GiB = 1 << 30


@dataclass(frozen=True)
class Assumptions:
    """Rates, allowances and costs that no shape tells."""

    efficiency: float = 0.6
    """Share of the peak that large matrix products reach. Good transformer trainings report an MFU of 0.4 to
    0.6, with what is beside the products included."""
    memory_efficiency: float = 0.8
    """Share of the memory bandwidth that elementwise kernels reach."""
    network_efficiency: float = 0.75
    """Share of the links' bandwidth that large collectives reach."""
    launch_s: float = 6e-6
    """Seconds to start a kernel from eager PyTorch: a step cannot be faster than its kernels are started."""
    latency_node_s: float = 15e-6
    """Seconds a collective takes inside a node however small it is."""
    latency_network_s: float = 12e-6
    """Seconds that each doubling of the nodes adds to a collective."""
    overlap: float = 0.8
    """Share of the computation beside which gradients and weights can travel."""
    context: float = 1.0 * GiB
    """Bytes that CUDA, cuBLAS and cuDNN take beside tensors."""
    communicator: float = 0.5 * GiB
    """Bytes of NCCL's buffers where there is more than one rank."""
    fragmentation: float = 0.05
    """Share of the tensors' bytes that the caching allocator cannot use."""
    host_link: float = 50e9
    """Bytes/s between a GPU and host memory (PCIe 5 x16 gives 64e9)."""
    host_adam: float = 1e9
    """Parameters/s that a node's CPUs update with Adam (DeepSpeed reports about 1e9 on two sockets)."""
    storage: float = 5e9
    """Bytes/s at which the run's file system takes a checkpoint."""
    gpu_hours_between_failures: float = 50_000.0
    """Llama 3's training had 419 unexpected stops in 54 days on 16,384 GPUs (arXiv 2407.21783, 3.3.4)."""
    restart_s: float = 300.0
    """Seconds from a failure to the first new step: scheduler, processes, checkpoint, warm caches."""
    loader: float = 1_000.0
    """Samples/s that one loader worker decodes and augments; `make bench-stream` measures it."""
    sample_bytes: float = 25e3
    """Bytes of a stored sample: EmoCap100K has 2 to 3 GB for 107,134 faces (its specification, section 2)."""
