"""Over which tokens the auxiliary loss evens out the load: none, a sequence, a micro-batch, or the whole step.

Where every sequence is of one kind of text, an even load within each leaves an expert no kind of text of its own; over
the whole step it does (Qiu et al. 2025). Sequences put together from several kinds are the control: each is then a
small batch by itself. Arms are "single/SCOPE" and "mixed/SCOPE".
"""

from dataclasses import dataclass
from itertools import combinations
from math import prod
from statistics import mean
from typing import Any

import torch
from torch import Generator, Tensor

from moedocs.config import BalanceConfig, RoutingConfig
from moedocs.engine import normalised_mutual_information, shuffled
from moedocs.lab import small
from moedocs.lab.training import Run, Trained, validation

RATES, SEEDS = small.RATES, small.SEEDS
LOOK_AT = (0, 5, 10, 20, 40, 80, 160, 240, 320, 400)
MICRO_BATCHES = 4
# Switch's. Tried on four kinds of text, seed 0, rate 4e-3: it brings the largest share in a layer from .27 to .15 or
# less in every scope. Ten times as much evens out hardly more, and no longer tells a micro-batch from a sequence.
WEIGHT = 0.01
PIECES = {"single": 1, "mixed": 4}
SCOPES: dict[str, dict[str, Any]] = {
    "none": {},
    "sequence": {"auxiliary_weight": WEIGHT, "auxiliary_over": "sequence"},
    "micro-batch": {"auxiliary_weight": WEIGHT, "auxiliary_over": "micro-batch"},
    "global": {"auxiliary_weight": WEIGHT, "auxiliary_over": "batch"},
}
TOLD = ("corrected", "given_byte", "given_byte_shuffled")  # of what is in the summary
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


def measure(run: Run, trained: Trained) -> dict[str, Any]:
    """At each look, by layer: what the expert tells of the kind of text, and the largest share of the assignments.

    The validation text is the same for all arms, each of its sequences of one kind. `largest_share` is over all of it,
    `sequence_share` the mean over sequences of the largest share in each, which by chance alone is above 1/8. Mutual
    information is `raw`, `corrected` for chance, with kinds `shuffled` among the tokens (raw), and `given_byte`
    (corrected), `given_byte_shuffled` among the tokens of the same byte: all over the mean of the two entropies. Bytes
    are so many that the correction leaves some chance over: only what is above the shuffled one is told of the kind.
    """
    inputs_BS = validation(run)[:, :-1]
    labels = _labels(inputs_BS, len(run.domains), run.model.vocab_size)
    maps = [[torch.from_numpy(map_TE) for map_TE in look.maps] for look in trained.looks]
    return {
        "seed": run.training.seed,
        "validation_loss": [look.validation_loss for look in trained.looks],
        "domain_loss": trained.looks[-1].loss_D.tolist(),
        "largest_share": [look.share_LE.max(1).tolist() for look in trained.looks],
        "sequence_share": [[_in_sequences(map_TE, len(inputs_BS)) for map_TE in look] for look in maps],
        "information": {
            name: [[one.information(map_TE) for map_TE in look] for look in maps] for name, one in labels.items()
        },
    }


def results(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Curves per arm and seed, indexed by look and layer; the summary is of the last look, mean over layers.

    `differences` are in the last validation loss: of one scope less another, each seed with itself.
    """
    arms = {arm: [measured[f"{arm}/{seed}"] for seed in SEEDS] for arm in ARMS}
    return {
        "steps": list(LOOK_AT),
        "domains": list(small.DOMAINS),
        "arms": arms,
        "differences": {text: _differences({scope: arms[f"{text}/{scope}"] for scope in SCOPES}) for text in PIECES},
        "summary": {arm: _summary(runs) for arm, runs in arms.items()},
    }


@dataclass(frozen=True, eq=False)
class _Labels:
    """What is asked of the experts: a label of each token, and how counts by label become a table."""

    label_T: Tensor
    shape: tuple[int, ...]
    corrected: bool

    def information(self, chosen_TE: Tensor) -> float:
        counts = torch.zeros(prod(self.shape), chosen_TE.shape[1], dtype=torch.int64)
        counts.index_add_(0, self.label_T, chosen_TE.long())
        table = counts.view(*self.shape, chosen_TE.shape[1])
        return normalised_mutual_information(table, corrected=self.corrected).item()


def _labels(inputs_BS: Tensor, num_domains: int, vocab_size: int) -> dict[str, _Labels]:
    byte_T = inputs_BS.flatten().long()
    domain_T = torch.arange(num_domains).repeat_interleave(len(byte_T) // num_domains)
    dealt_T = shuffled(domain_T, generator=Generator().manual_seed(0))
    dealt_by_byte_T = shuffled(domain_T, generator=Generator().manual_seed(0), byte_T=byte_T)
    alone, by_byte = (num_domains,), (vocab_size, num_domains)
    return {
        "raw": _Labels(domain_T, alone, corrected=False),
        "corrected": _Labels(domain_T, alone, corrected=True),
        "shuffled": _Labels(dealt_T, alone, corrected=False),
        "given_byte": _Labels(byte_T * num_domains + domain_T, by_byte, corrected=True),
        "given_byte_shuffled": _Labels(byte_T * num_domains + dealt_by_byte_T, by_byte, corrected=True),
    }


def _in_sequences(chosen_TE: Tensor, num_sequences: int) -> float:
    """Mean over sequences of the largest share of a sequence's assignments."""
    counts_BE = chosen_TE.view(num_sequences, -1, chosen_TE.shape[1]).sum(1)
    return (counts_BE.amax(1) / counts_BE.sum(1)).mean().item()


def _differences(scopes: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """By one scope and then by each that comes after it: above 0 where the one has the greater loss."""
    losses = {scope: [run["validation_loss"][-1] for run in runs] for scope, runs in scopes.items()}
    found: dict[str, dict[str, Any]] = {}
    for one, other in combinations(losses, 2):
        apart = [loss - another for loss, another in zip(losses[one], losses[other], strict=True)]
        found.setdefault(one, {})[other] = {"each": apart, **_spread(apart)}
    return found


def _summary(runs: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    by_layer = {name: [mean(run[name][-1]) for run in runs] for name in ("largest_share", "sequence_share")}
    told = {name: [mean(run["information"][name][-1]) for run in runs] for name in TOLD}
    loss = {"validation_loss": [run["validation_loss"][-1] for run in runs]}
    return {name: _spread(values) for name, values in (told | by_layer | loss).items()}


def _spread(values: list[float]) -> dict[str, float]:
    return {"mean": mean(values), "least": min(values), "most": max(values)}
