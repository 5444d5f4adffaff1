"""What all small experiments share: kinds of text, seeds, rates to try, and the sizes of model and step.

A model of this size reads some 30 thousand tokens per CPU second, so that an experiment of dozens of trainings is done
in minutes. What it cannot show at this size its page says.
"""

from typing import Any

from moedocs.config import TrainingConfig, TransformerConfig

DOMAINS = ("code", "docstrings", "headers", "json", "latex", "latin", "cyrillic", "cjk")
SEEDS = (0, 1, 2)
RATES = (2e-3, 4e-3, 8e-3)


def model(**changes: Any) -> TransformerConfig:
    """A decoder over bytes, 64 wide and 4 layers deep, dense unless `changes` give it a routing or a depth."""
    sizes = {"vocab_size": 256, "d_model": 64, "num_layers": 4, "num_heads": 4, "d_ff": 128}
    return TransformerConfig(**(sizes | changes))


def training(learning_rate: float, seed: int, steps: int, **changes: Any) -> TrainingConfig:
    """Steps of 2,048 bytes, two sequences of each kind of text, at a rate that is constant after 20 steps."""
    sizes = {"sequences": 16, "sequence_length": 128, "warmup_steps": 20}
    return TrainingConfig(learning_rate=learning_rate, seed=seed, steps=steps, **(sizes | changes))
