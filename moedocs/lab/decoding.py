"""A model that is sparse in depth, read twice: with the choice it was trained on, and with the one that sampling makes.

Shapes: B sequences · S sequence length · V vocabulary
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn.functional import nll_loss

from moedocs.engine import (
    DepthRouting,
    Output,
    Transformer,
    always_skip_accuracy,
    causal_choice,
    choice_accuracy,
    choice_recall,
)
from moedocs.lab.looks import LOOK_SEED


@dataclass(frozen=True, eq=False)
class Reading:
    """Loss and entropy of each next-byte prediction in nats, and each routed block's choice."""

    loss_BS: NDArray[np.float32]
    entropy_BS: NDArray[np.float32]
    depths: list[DepthRouting]

    @property
    def loss(self) -> float:
        """Nats per byte."""
        return float(self.loss_BS.mean(dtype=np.float64))


@torch.no_grad()
def read(model: Transformer, bytes_BS: Tensor, *, causal: bool = False) -> Reading:
    """Read sequences whose last byte is only a target, with the draws of a look; causal=True chooses as sampling."""
    output: Output = model(bytes_BS[:, :-1], causal=causal, generator=Generator().manual_seed(LOOK_SEED))
    logs_BSV = output.logits_BSV.log_softmax(-1)
    loss_BS = nll_loss(logs_BSV.transpose(1, 2), bytes_BS[:, 1:].long(), reduction="none")
    return Reading(loss_BS.numpy(), -(logs_BSV.exp() * logs_BSV).sum(-1).numpy(), output.depths)


def agreement(found: DepthRouting, top: DepthRouting) -> dict[str, Any]:
    """How well a choice hits the top C; "precision" is of those it lets pass, None where it lets nobody."""
    return {
        "accuracy": choice_accuracy(found, top).item(),
        "always_skip_accuracy": always_skip_accuracy(top).item(),
        "recall": choice_recall(found, top).item(),
        # of those that pass, how many are in the top C: recall with the two choices exchanged
        "precision": choice_recall(top, found).item() if found.map_BS.any() else None,
        "share": found.map_BS.float().mean().item(),
    }


def sampled(trained: Reading, causal: Reading) -> dict[str, Any]:
    """What sampling's choice costs, and how often it is the trained one, block by block.

    "predicted" compares both on the same tokens, as papers do. "reached" compares what really happens: behind a first
    choice that differs, later blocks see other tokens than in training.
    """
    same_input = [causal_choice(top.logits_BS, top.predicted_BS) for top in trained.depths]
    return {
        "training_loss": trained.loss,
        "sampling_loss": causal.loss,
        "predicted": [agreement(one, top) for one, top in zip(same_input, trained.depths, strict=True)],
        "reached": [agreement(one, top) for one, top in zip(causal.depths, trained.depths, strict=True)],
    }
