"""Back end for any device: tiles of the logits in turn, gradients by hand, memory linear in the batch."""
