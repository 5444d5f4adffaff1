"""The health of a router in seven numbers, a line per layer: what to log while a model trains.

Shapes: T tokens · E num_experts
"""

import math
from collections.abc import Sequence

import numpy as np

from moedocs.lite.balance import auxiliary_loss, load
from moedocs.lite.metrics import dead_experts, dropped_share, load_entropy, load_share, router_entropy
from moedocs.lite.record import Routing

COLUMN = 10  # characters; the name of a column stands on two lines, cut at its first space


def vitals(routing: Routing) -> dict[str, float]:
    """Seven numbers of one layer. Two are over their largest value: 1 is an even load, or a router without an opinion.

    The auxiliary loss is without its weight: 1 at perfect balance, and elsewhere by accident. A small batch leaves
    experts without tokens by chance: call none dead before many batches are together.
    """
    load_E = load(routing)
    return {
        "busiest share": float(load_share(load_E).max()),
        "load entropy": load_entropy(load_E),
        "dead experts": dead_experts(load_E),
        "router entropy": router_entropy(routing) / math.log(max(len(load_E), 2)),
        "largest logit": float(np.abs(routing.logits_TE).max()),
        "auxiliary loss": auxiliary_loss(routing),
        "dropped share": dropped_share(routing),
    }


def report(routings: Sequence[Routing]) -> str:
    """A table, a line per layer: they are looked at one by one, since expert 3 of one is not expert 3 of the next."""
    lines = [vitals(routing) for routing in routings]
    heads = [" layer", *(lines[0] if lines else ())]
    table = [[head.split(" ", 1)[part] for head in heads] for part in (0, 1)]
    table += [[str(layer), *map(_shown, line.values())] for layer, line in enumerate(lines, 1)]
    return "\n".join("".join(cell.rjust(COLUMN) for cell in row) for row in table)


def _shown(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.2f}"
