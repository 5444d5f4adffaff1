"""How a model is trained."""

import math
from dataclasses import dataclass

from moedocs.config.checks import not_negative, whole


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained: each of `steps` steps reads `sequences` stretches of `sequence_length` tokens.

    The `micro_batches` are equal parts of a step's sequences, one after the other: only an auxiliary loss taken over
    micro-batches notices them.
    """

    steps: int
    sequences: int
    sequence_length: int
    learning_rate: float
    seed: int = 0
    warmup_steps: int = 0
    decay_steps: int = 0
    micro_batches: int = 1
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        whole(self, "steps", "sequences", "sequence_length", "micro_batches")
        whole(self, "seed", "warmup_steps", "decay_steps", least=0)
        not_negative(self, "weight_decay")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate={self.learning_rate} must be a positive number")
        if self.warmup_steps > self.steps:
            raise ValueError(f"warmup_steps={self.warmup_steps} must lie in 0..steps={self.steps}")
        if self.warmup_steps + self.decay_steps > self.steps:
            raise ValueError(
                f"warmup_steps={self.warmup_steps} + decay_steps={self.decay_steps} are more than steps={self.steps}"
            )
        if self.sequences % self.micro_batches:
            raise ValueError(f"micro_batches={self.micro_batches} must divide sequences={self.sequences}")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"betas={self.betas} must lie in 0..1, 1 excluded")

    def rate_at(self, step: int) -> float:
        """Learning rate of a step counted from 0: it rises over the warm-up, stays, and falls over the last steps.

        Both are straight lines, from zero before the first step and to zero after the last, so no step is lost.
        """
        if not 0 <= step < self.steps:
            raise ValueError(f"step={step} must lie in 0..{self.steps - 1}")
        risen, left = (step + 1) / (self.warmup_steps + 1), (self.steps - step) / (self.decay_steps + 1)
        return self.learning_rate * min(1.0, risen, left)
