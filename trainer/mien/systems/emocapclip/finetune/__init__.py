"""Classes of expression from EmoCapCLIP's image tower: linear, LoRA, adapters or all of it; images, clips."""
