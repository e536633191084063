"""Cross-entropy over uneven classes; as a mean over samples, so that ranks and micro batches add up."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.systems.emocapclip.finetune.config import FinetuneObjective


class Imbalanced(nn.Module):
    """The loss of a batch.

    Args:
        config: what evens out rare classes.
        counts: training samples of each class; all positive unless `balance` is none.

    Attributes:
        weight: of a sample, by class, float32 [C]; its mean over the training set is 1.
        prior: what is added to the logits, float32 [C].
    """

    weight: Tensor
    prior: Tensor

    def __init__(self, config: FinetuneObjective, counts: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        sizes = torch.tensor(counts, dtype=torch.float64)
        weight, prior = torch.ones_like(sizes), torch.zeros_like(sizes)
        if config.balance == "inverse":
            weight = 1 / sizes
        elif config.balance == "effective":
            weight = (1 - config.beta) / (1 - config.beta**sizes)
        elif config.balance == "logits":
            prior = config.tau * torch.log(sizes / sizes.sum())
        weight = weight * sizes.sum() / (weight * sizes).sum() if config.balance != "none" else weight
        self.register_buffer("weight", weight.float(), persistent=False)
        self.register_buffer("prior", prior.float(), persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of each sample, float32 [B], weights included.

        Args:
            logits: float32 [B, C].
            labels: int64 [B].
        """
        adjusted = logits + self.prior
        loss = F.cross_entropy(adjusted, labels, reduction="none", label_smoothing=self.config.smoothing)
        if self.config.focal:
            chosen = adjusted.log_softmax(1).gather(1, labels[:, None]).squeeze(1).exp()
            loss = loss * (1 - chosen).clamp(min=0) ** self.config.focal
        return loss * self.weight[labels]
