"""A model looked at: how well it predicts validation text, and who goes where in it.

Shapes: B sequences · S sequence length · T tokens (B * S) · L MoE layers · E experts (and no-ops) · D domains here
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from moedocs.engine.metrics import router_entropy
from moedocs.engine.transformer import Output, Transformer

LOOK_SEED = 2_000_000  # what a routing draws while it is looked at: the same for every model and step


@dataclass(frozen=True, eq=False)
class Look:
    """The model after `step` steps: loss in nats per byte of each domain, mean router entropy in nats, and choices.

    `probs_LE` are mean router probabilities, one array (E,) per MoE layer. `maps` says per MoE layer who chose whom
    (T, E), inside a block that only some tokens pass just of those; `passed` per such block who passed it (B, S).
    """

    step: int
    loss_D: NDArray[np.float32]
    entropy_L: NDArray[np.float32]
    probs_LE: NDArray[np.float32]
    maps: tuple[NDArray[np.bool_], ...]
    passed: tuple[NDArray[np.bool_], ...]

    @property
    def validation_loss(self) -> float:
        """Mean over domains, nats per byte."""
        return float(self.loss_D.mean(dtype=np.float64))

    @property
    def share_LE(self) -> NDArray[np.float64]:
        """Share of a layer's assignments that fell on each expert (L, E); a layer's sum is 1."""
        counts_LE = np.array([map_TE.sum(0) for map_TE in self.maps], np.float64)
        share_LE: NDArray[np.float64] = counts_LE / counts_LE.sum(1, keepdims=True)
        return share_LE


@torch.no_grad()
def look(model: Transformer, bytes_BS: Tensor, num_domains: int, step: int) -> Look:
    """Look at a model in evaluation mode: routers that draw in training do not, BASE and Sinkhorn take the best."""
    was_training = model.training
    model.eval()
    output: Output = model(bytes_BS[:, :-1], generator=Generator().manual_seed(LOOK_SEED))
    model.train(was_training)
    targets_BS = bytes_BS[:, 1:].long()
    loss_BS = cross_entropy(output.logits_BSV.flatten(0, 1), targets_BS.flatten(), reduction="none")
    routings = output.routings
    return Look(
        step,
        loss_D=loss_BS.view(num_domains, -1).mean(1).numpy(),
        entropy_L=np.array([router_entropy(routing).item() for routing in routings], np.float32),
        probs_LE=np.array([routing.probs_TE.mean(0).numpy() for routing in routings], np.float32),
        maps=tuple(routing.chosen_TE.numpy() for routing in routings),
        passed=tuple(depth.map_BS.numpy() for depth in output.depths),
    )


def packed(one: Look) -> dict[str, Any]:
    """The look as tensors, eight choices to a byte."""
    return {
        "step": one.step,
        **{name: torch.from_numpy(getattr(one, name)) for name in ("loss_D", "entropy_L", "probs_LE")},
        **{name: [_bits(table) for table in getattr(one, name)] for name in ("maps", "passed")},
    }


def unpacked(content: dict[str, Any]) -> Look:
    """The look again, as it was."""
    maps, passed = (tuple(_table(*bits) for bits in content[name]) for name in ("maps", "passed"))
    loss_D, entropy_L, probs_LE = (content[name].numpy() for name in ("loss_D", "entropy_L", "probs_LE"))
    return Look(content["step"], loss_D, entropy_L, probs_LE, maps, passed)


def _bits(table: NDArray[np.bool_]) -> tuple[Tensor, int]:
    return torch.from_numpy(np.packbits(table, axis=1)), table.shape[1]


def _table(bits: Tensor, width: int) -> NDArray[np.bool_]:
    return np.unpackbits(bits.numpy(), axis=1, count=width).astype(bool)
