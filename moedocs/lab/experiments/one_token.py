"""Single tokens on their way through one MoE layer of a trained model, with what every expert would have said.

The tokens stand in validation text, which the model never trained on.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from moedocs.config import RoutingConfig, TrainingConfig, TransformerConfig
from moedocs.engine import Transformer, load, trace
from moedocs.lab.corpora import text
from moedocs.lab.training import Run, Trained

LAYER = 1
LENGTH = 128  # bytes the model sees
POSITION = 95  # of the token among them
CANDIDATES = 3  # next bytes to name


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
    Place("code", "return "),
    Place("headers", "std::"),
)

RUNS = {
    "auxiliary": Run(
        model=TransformerConfig(
            vocab_size=256,
            d_model=64,
            num_layers=4,
            num_heads=4,
            d_ff=128,
            routing=RoutingConfig(num_experts=8, top_k=2, balance="auxiliary", auxiliary_weight=0.01),
        ),
        training=TrainingConfig(
            steps=2000, sequences=16, sequence_length=128, learning_rate=4e-3, warmup_steps=50, seed=0
        ),
        domains=("code", "headers", "latin", "cyrillic"),
        look_at=(0, 500, 1000, 1500, 2000),
    )
}


def measure(run: Run, trained: Trained) -> dict[str, Any]:
    """The traces, and how good and how balanced the model is."""
    last = trained.looks[-1]
    return {
        "layer": LAYER,
        "tokens": [follow(trained.model, place) for place in PLACES],
        "share": last.share_LE[LAYER],
        "steps": [look.step for look in trained.looks],
        "validation_loss": [look.validation_loss for look in trained.looks],
    }


def results(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The one training's measurements; the summary says what the tokens are."""
    only = measured["auxiliary"]
    tokens = [f"{token['before'][-24:]}[{token['token']}]{token['after'][:8]}" for token in only["tokens"]]
    return only | {"summary": {"validation_loss": only["validation_loss"][-1], "tokens": tokens}}


@torch.no_grad()
def follow(model: Transformer, place: Place) -> dict[str, Any]:
    """All that one token meets in the layer, the load of its whole sequence there, and the bytes expected after it."""
    content, at = _find(place)
    sequence = content[at - POSITION :][:LENGTH]
    bytes_S = torch.tensor(list(sequence))
    step = trace(model, bytes_S, LAYER, POSITION)
    logits_BSV, routings = model(bytes_S[None])
    return _context(place, sequence) | {
        "residual": step.residual_D.tolist(),
        "input": step.x_D.tolist(),
        "logits": step.logits_E.tolist(),
        "probabilities": step.probs_E.tolist(),
        "chosen": step.index_K.tolist(),
        "weights": step.weights_E.tolist(),
        "expert_outputs": step.outputs_ED.tolist(),
        "sum": step.sum_D.tolist(),
        "output": step.output_D.tolist(),
        "sequence_load": load(routings[LAYER]).tolist(),
        "next": _next(logits_BSV[0, POSITION]),
    }


def _find(place: Place) -> tuple[bytes, int]:
    """Validation text and the place's byte in it, far enough from both ends to have a whole sequence around it."""
    content = text(place.domain).validation
    phrase = place.phrase.encode()
    at = content.index(phrase, POSITION, len(content) - LENGTH) + len(phrase) - 1
    return content, at


def _context(place: Place, sequence: bytes) -> dict[str, Any]:
    """The token's character and the text around it; a character of two bytes is shown whole, as its last byte."""
    character = place.phrase[-1]
    start = POSITION + 1 - len(character.encode())
    return {
        "domain": place.domain,
        "position": POSITION,
        "byte": sequence[POSITION],
        "token": character,
        "before": sequence[:start].decode(errors="ignore"),
        "after": sequence[POSITION + 1 :].decode(errors="ignore"),
    }


def _next(logits_V: Tensor) -> list[dict[str, Any]]:
    """The most probable next bytes."""
    probability_K, byte_K = logits_V.softmax(-1).topk(CANDIDATES)
    pairs = zip(byte_K.tolist(), probability_K.tolist(), strict=True)
    return [{"byte": byte, "probability": probability} for byte, probability in pairs]
