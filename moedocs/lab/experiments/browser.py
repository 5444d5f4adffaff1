"""Small models that live in the page: one with experts, one with depth, one with both, trained longer than the others.

One seed each: they are here to be looked at, not to be compared. All that is measured of an export is measured of the
file, rounded to float16; the text is written by `moedocs.lite`, as in a page.
"""

import hashlib
import math
from pathlib import Path
from statistics import mean
from typing import Any

import torch

from moedocs.config import BalanceConfig, DepthConfig, RoutingConfig, TrainingConfig, TransformerConfig
from moedocs.lab import export, small
from moedocs.lab.exported import (
    TEMPERATURE,
    causal_loss,
    depth_choice,
    difference,
    domain_information,
    torch_of,
    writing,
)
from moedocs.lab.looks import look
from moedocs.lab.training import Run, Trained, one_thread, validation
from moedocs.lite.weights import Model, load

STEPS = 4000
EXPERTS = RoutingConfig(num_experts=8, top_k=2, balance=BalanceConfig(auxiliary_weight=0.01))
# text is written byte by byte, so who passes a block must not depend on what comes later
DEPTH = DepthConfig(capacity=0.125, sampling="predictor")


def _model(routing: RoutingConfig | None, depth: DepthConfig | None, num_layers: int, d_ff: int) -> TransformerConfig:
    return TransformerConfig(
        vocab_size=256, d_model=96, num_layers=num_layers, num_heads=6, d_ff=d_ff, routing=routing, depth=depth
    )


def _run(model: TransformerConfig) -> Run:
    # of 2e-3, 4e-3 and 8e-3 this rate came out best after 200 steps of the model with experts; no more was tuned
    training = TrainingConfig(
        steps=STEPS,
        sequences=8,
        sequence_length=256,
        learning_rate=4e-3,
        warmup_steps=100,
        decay_steps=STEPS // 3,
        seed=small.SEEDS[0],
    )
    return Run(model=model, training=training, domains=small.DOMAINS, look_at=(STEPS,))


RUNS = {
    "moe": _run(_model(EXPERTS, None, num_layers=4, d_ff=96)),
    "mod": _run(_model(None, DEPTH, num_layers=6, d_ff=256)),
    "mode": _run(_model(EXPERTS, DEPTH, num_layers=4, d_ff=96)),
}

# 64 bytes of several kinds of text, by which a page can tell whether it computes what torch computed
CHECK_TEXT = "class Router:\n    # лозинка, 数据\n    def go(self, x):\n".encode()
CHECK_AT = range(7, 64, 8)
CHECK_LOGITS = 8
CHECK_UNIT = 1e-5
PROMPTS = 8  # of each kind of text


def measure(run: Run, trained: Trained, *, num_prompts: int = PROMPTS) -> dict[str, Any]:
    """How good the model is, in nats per byte of each domain: trained, rounded, and with depth chosen as in writing.

    And its routing, and what it writes.
    """
    model = load(export.packed(trained, "model"))
    twin = torch_of(model)
    with one_thread():
        seen = look(twin, validation(run), len(run.domains), run.training.steps)
    return {
        "domains": [export.called(domain) for domain in run.domains],
        "loss": trained.looks[-1].loss_D.tolist(),
        "loss_rounded": seen.loss_D.tolist(),
        "loss_causal": causal_loss(twin, run).tolist(),
        "logits": difference(model, twin, run),
        "share": seen.share_LE.tolist() if seen.maps else [],
        "domain_information": domain_information(seen, run),
        "depth": depth_choice(twin, run),
        **writing(model, run.domains, num_prompts),
    }


def results(measured: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Of each model what was measured; the summary has losses in bits per byte."""
    summary = {key: _summary(one) for key, one in measured.items()}
    return {"models": measured, "temperature": TEMPERATURE, "prompts": PROMPTS, "summary": summary}


def artefacts(trained: dict[str, Trained], folder: Path) -> dict[str, Any]:
    """Write the files; of each its size, its hash, and some of torch's logits to compare with."""
    exports = {}
    for key, one in trained.items():
        path = folder / f"{key}.npz"
        content = export.export(one, path)
        sha256 = hashlib.sha256(content).hexdigest()
        checks = check_logits(load(content, name=key))
        exports[key] = {"file": path.name, "bytes": len(content), "sha256": sha256, "check": checks}
    return exports


@torch.no_grad()
def check_logits(model: Model) -> dict[str, Any]:
    """The likeliest next bytes after some places of a short text, and their logits, routed as in writing.

    The logits are whole numbers of a unit: a record rounds what has a fraction.
    """
    with one_thread():
        logits_SV = torch_of(model)(torch.tensor([list(CHECK_TEXT)]), causal=True).logits_BSV[0]
    best = logits_SV[list(CHECK_AT)].topk(CHECK_LOGITS)
    logits = (best.values.double() / CHECK_UNIT).round().long().tolist()
    found = {"text": CHECK_TEXT.decode(), "places": list(CHECK_AT), "bytes": best.indices.tolist()}
    return found | {"unit": CHECK_UNIT, "logits": logits}


def _summary(one: dict[str, Any]) -> dict[str, float]:
    bits = {name: mean(one[name]) / math.log(2) for name in ("loss", "loss_rounded", "loss_causal")}
    return {
        **{name.replace("loss", "bits_per_byte"): value for name, value in bits.items()},
        "recognised": one["written"]["recognised"],
        "recognised_real": one["real"]["recognised"],
        "largest_difference": one["logits"]["largest"],
    }
