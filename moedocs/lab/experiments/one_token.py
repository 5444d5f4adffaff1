"""Single tokens on their way through one MoE layer, with what every expert would have said: of 4, 8 and 16 experts.

Three trainings that differ in the number of experts alone. The tokens stand in validation text, which no model trained
on.
"""

from dataclasses import dataclass
from typing import Any

import torch

from moedocs.config import BalanceConfig, RoutingConfig, TrainingConfig, TransformerConfig
from moedocs.engine import Transformer, trace
from moedocs.lab.corpora import text
from moedocs.lab.training import Run, Trained

NUM_EXPERTS = (4, 8, 16)
LOOK_AT = (0, 500, 1000, 1500, 2000)
LAYER = 1
LENGTH = 128  # bytes the model sees
POSITION = 95  # of the token among them


@dataclass(frozen=True)
class Place:
    """A token: the last byte of the first occurrence of a phrase in a domain's validation text."""

    domain: str
    phrase: str


# The first three are the same byte, e, in three kinds of text.
PLACES = (
    Place("code", "else"),
    Place("headers", "template"),
    Place("latin", "gebruike"),
    Place("cyrillic", "лозинка"),
)


def _run(num_experts: int) -> Run:
    routing = RoutingConfig(num_experts=num_experts, top_k=2, balance=BalanceConfig(auxiliary_weight=0.01))
    return Run(
        model=TransformerConfig(vocab_size=256, d_model=64, num_layers=4, num_heads=4, d_ff=128, routing=routing),
        training=TrainingConfig(
            steps=LOOK_AT[-1], sequences=16, sequence_length=128, learning_rate=4e-3, warmup_steps=50, seed=0
        ),
        domains=("code", "headers", "latin", "cyrillic"),
        look_at=LOOK_AT,
    )


RUNS = {f"experts-{number}": _run(number) for number in NUM_EXPERTS}


def measure(run: Run, trained: Trained) -> dict[str, Any]:
    """The traces of the tokens, and how good and how balanced the model is."""
    return {
        "traces": [follow(trained.model, place) for place in PLACES],
        "share": trained.looks[-1].share_LE[LAYER].tolist(),
        "validation_loss": [look.validation_loss for look in trained.looks],
    }


def results(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The tokens once, and each model's traces in the same order; the summary says how good the models became."""
    tokens = [context(place) for place in PLACES]
    return {
        "layer": LAYER,
        "steps": list(LOOK_AT),
        "tokens": tokens,
        "models": measured,
        "summary": {
            "validation_loss": {key: one["validation_loss"][-1] for key, one in measured.items()},
            "tokens": [f"{token['before'][-24:]}[{token['token']}]{token['after'][:8]}" for token in tokens],
        },
    }


@torch.no_grad()
def follow(model: Transformer, place: Place) -> dict[str, Any]:
    """All that one token meets in the layer; the weighted sum is what the output adds to the residual."""
    step = trace(model, torch.tensor(list(_sequence(place))), LAYER, POSITION)
    return {
        "residual": step.residual_D.tolist(),
        "input": step.x_D.tolist(),
        "logits": step.logits_E.tolist(),
        "probabilities": step.probs_E.tolist(),
        "chosen": step.index_K.tolist(),
        "weights": step.weights_E.tolist(),
        "expert_outputs": step.outputs_ED.tolist(),
        "output": step.output_D.tolist(),
    }


def context(place: Place) -> dict[str, Any]:
    """The token's character and the text around it; a character of two bytes is shown whole, as its last byte."""
    sequence, character = _sequence(place), place.phrase[-1]
    start = POSITION + 1 - len(character.encode())
    return {
        "domain": place.domain,
        "position": POSITION,
        "byte": sequence[POSITION],
        "token": character,
        "before": sequence[:start].decode(errors="ignore"),
        "after": sequence[POSITION + 1 :].decode(errors="ignore"),
    }


def _sequence(place: Place) -> bytes:
    """The bytes that a model sees: validation text around the place, with the token's last byte at `POSITION`."""
    content, phrase = text(place.domain).validation, place.phrase.encode()
    end = content.index(phrase, POSITION, len(content) - LENGTH) + len(phrase)
    return content[end - 1 - POSITION :][:LENGTH]
