"""A small causal block for tests of depth routing, and the same as a loop that can be checked by eye.

Each token looks at the tokens before it, the nearer the more alike in phase: whoever turns by ranks and not by
positions, looks at the skipped, or adds a residual too many gets other numbers.
"""

import math

import torch
from torch import Tensor, nn

from moedocs.engine import DepthRouting
from tests.drawing import random_logits


class Mixing(nn.Module):
    """mixed + tanh(F (x + mixed)), where mixed is causal attention over the tokens that it is given."""

    def __init__(self, width: int) -> None:
        super().__init__()
        scale = width**-0.5
        self.score_DD = nn.Parameter(random_logits(width, width, seed=101) * scale)
        self.value_DD = nn.Parameter(random_logits(width, width, seed=102) * scale)
        self.feed_DD = nn.Parameter(random_logits(width, width, seed=103) * scale)

    def delta(self, x_BCD: Tensor, positions_BC: Tensor, **_: object) -> tuple[Tensor, None]:
        distance_BCC = positions_BC[:, :, None] - positions_BC[:, None, :]
        scores_BCC = (x_BCD @ self.score_DD @ x_BCD.mT) * torch.cos(0.7 * distance_BCC.to(x_BCD.dtype))
        shares_BCC = scores_BCC.masked_fill(distance_BCC < 0, -math.inf).softmax(-1)
        mixed_BCD = shares_BCC @ (x_BCD @ self.value_DD)
        return mixed_BCD + torch.tanh((x_BCD + mixed_BCD) @ self.feed_DD), None

    def added(self, x_BCD: Tensor, positions_BC: Tensor) -> Tensor:
        return self.delta(x_BCD, positions_BC)[0]


def slow_through(x_BSD: Tensor, routing: DepthRouting, block: Mixing) -> Tensor:
    """Token by token: who does not pass stays, who passes looks at those before it that pass too."""
    rows = []
    for sequence, x_SD in enumerate(x_BSD):
        passing = [position for position in range(len(x_SD)) if routing.map_BS[sequence, position]]
        for position, x_D in enumerate(x_SD):
            if position not in passing:
                rows.append(x_D)
                continue
            seen = [other for other in passing if other <= position]
            scores = [x_D @ block.score_DD @ x_SD[other] * math.cos(0.7 * (position - other)) for other in seen]
            shares = torch.stack(scores).softmax(0)
            mixed_D = torch.stack([s * (x_SD[o] @ block.value_DD) for s, o in zip(shares, seen, strict=True)]).sum(0)
            added_D = mixed_D + torch.tanh((x_D + mixed_D) @ block.feed_DD)
            rows.append(x_D + routing.weights_BS[sequence, position] * added_D)
    return torch.stack(rows).view_as(x_BSD)
