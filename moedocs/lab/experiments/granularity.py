"""Over which tokens the auxiliary loss evens out the load: none, a sequence, a micro-batch, or the whole step.

Where every sequence is of one kind of text, an even load within each leaves an expert no kind of text of its own; over
the whole step it does (Qiu et al. 2025). Sequences put together from several kinds are the control: each is then a
small batch by itself. Arms are "single/SCOPE" and "mixed/SCOPE".
"""

from typing import Any

from moedocs.config import BalanceConfig, RoutingConfig
from moedocs.lab import small
from moedocs.lab.training import Run

RATES, SEEDS = small.RATES, small.SEEDS
LOOK_AT = (0, 5, 10, 20, 40, 80, 160, 240, 320, 400)
MICRO_BATCHES = 4
WEIGHT = 0.01
PIECES = {"single": 1, "mixed": 4}
SCOPES: dict[str, dict[str, Any]] = {
    "none": {},
    "sequence": {"auxiliary_weight": WEIGHT, "auxiliary_over": "sequence"},
    "micro-batch": {"auxiliary_weight": WEIGHT, "auxiliary_over": "micro-batch"},
    "global": {"auxiliary_weight": WEIGHT, "auxiliary_over": "batch"},
}
ARMS = tuple(f"{text}/{scope}" for text in PIECES for scope in SCOPES)


def run(arm: str, learning_rate: float, seed: int) -> Run:
    """The steps of all arms are cut into the same micro-batches, which only the loss over them notices."""
    text, _, scope = arm.partition("/")
    routing = RoutingConfig(num_experts=8, top_k=2, balance=BalanceConfig(**SCOPES[scope]))
    return Run(
        model=small.model(routing=routing, d_ff=64),
        training=small.training(learning_rate, seed, LOOK_AT[-1], micro_batches=MICRO_BATCHES),
        domains=small.DOMAINS,
        pieces=PIECES[text],
        look_at=LOOK_AT,
    )
