"""Which tokens pass through a block, and what is lost by letting the others go past it.

Mixture of Depths at three capacities, in every block and in every other, beside dense models of full and of less depth
and beside a choice at random, which has nothing to learn. All else is equal: arms of one seed read the same text.
"""

from moedocs.config import DepthConfig
from moedocs.lab import small
from moedocs.lab.training import Run

RATES = small.RATES
SEEDS = small.SEEDS
LOOK_AT = (0, 60, 120, 240, 480)
LAYERS = {"dense": 4, "shallow-3": 3, "shallow-2": 2, "shallow-1": 1}


def _depth(percent: float, every: int, router: str) -> DepthConfig:
    # Raw weights, as in the paper. In trials of 240 steps at three rates they trained as well as sigmoids: better by up
    # to 0.05 nats in every block, worse by up to 0.006 in every other.
    if router == "random":
        return DepthConfig(capacity=percent / 100, every=every, router="random")
    return DepthConfig(capacity=percent / 100, every=every, sampling="predictor")


DEPTHS = {
    f"{router}-{percent:g}/every-{every}": _depth(percent, every, router)
    for router, choices in (
        ("mod", ((12.5, 1), (25, 1), (50, 1), (12.5, 2), (25, 2), (50, 2))),
        ("random", ((12.5, 1), (12.5, 2), (25, 2), (50, 2))),
    )
    for percent, every in choices
}
ARMS = (*LAYERS, *DEPTHS)


def run(arm: str, learning_rate: float, seed: int) -> Run:
    """One training of an arm: a dense model of some layers, or the full one with a depth."""
    return Run(
        model=small.model(num_layers=LAYERS.get(arm, LAYERS["dense"]), depth=DEPTHS.get(arm)),
        training=small.training(learning_rate, seed, LOOK_AT[-1]),
        domains=small.DOMAINS,
        look_at=LOOK_AT,
    )
