"""mien: trains facial-affect models at scale on PyTorch Lightning."""

__version__ = "0.1.0"
