"""What MagicFace and RigFace share: an identity network, a denoiser that attends to it, conditions."""

import logging

# Where torchao is installed (moments of eight bits), importing diffusers warns of what no editor uses.
for _name in ("diffusers.quantizers.torchao.torchao_quantizer", "torch.utils._pytree"):
    logging.getLogger(_name).setLevel(logging.ERROR)
