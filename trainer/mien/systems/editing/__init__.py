"""What MagicFace and RigFace share: an identity network, a denoiser that attends to it, conditions."""
