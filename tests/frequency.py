"""Monte Carlo: how often a thing happened, against its chance, from a fixed seed and within five standard errors."""

import torch
from torch import Generator, Tensor

ROUNDS = 20_000


def seeded(seed: int = 0) -> Generator:
    return torch.Generator().manual_seed(seed)


def repeated(logits_TE: Tensor, rounds: int = ROUNDS) -> Tensor:
    """Each token `rounds` times, so that one call draws for it that often."""
    return logits_TE.repeat_interleave(rounds, dim=0)


def assert_frequent(happened_NE: Tensor, chance_E: Tensor) -> None:
    """As often as the chances say, within five standard errors."""
    error_E = (chance_E * (1 - chance_E) / len(happened_NE)).sqrt()
    assert ((happened_NE.double().mean(0) - chance_E).abs() <= 5 * error_E + 1e-6).all()
