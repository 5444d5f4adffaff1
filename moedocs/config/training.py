"""How a model is trained."""

import math
from dataclasses import dataclass

from moedocs.config.checks import not_negative, whole


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained: each of `steps` steps reads `sequences` stretches of `sequence_length` tokens."""

    steps: int
    sequences: int
    sequence_length: int
    learning_rate: float
    seed: int = 0
    warmup_steps: int = 0
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        whole(self, "steps", "sequences", "sequence_length")
        whole(self, "seed", "warmup_steps", least=0)
        not_negative(self, "weight_decay")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate={self.learning_rate} must be a positive number")
        if self.warmup_steps > self.steps:
            raise ValueError(f"warmup_steps={self.warmup_steps} must lie in 0..steps={self.steps}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={self.betas} must lie in 0..1, 1 excluded")
