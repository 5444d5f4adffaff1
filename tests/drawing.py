"""Random tensors for tests, each from a seed of its own."""

import torch
from torch import Tensor


def random_logits(*shape: int, seed: int = 0) -> Tensor:
    """Normal numbers of unit variance."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
