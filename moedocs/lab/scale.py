"""The same experiments at another size.

Small runs leave questions open: does balancing change the loss, does it matter over what it balances, does Mixture of
Depths beat a model with fewer layers? `large` is a size at which they could be settled, on one GPU of 80 GB or several:
512 wide with heads of 64, twelve layers, of which every other is six to route in depth, sequences of 1,024 bytes, and
one to four billion bytes a run. That is at least thirty for each active parameter of a sparse model, where twenty
tokens were found enough for a dense one (Hoffmann et al. 2022).
"""

import math
from dataclasses import dataclass, replace

from moedocs.config import RoutingConfig, TrainingConfig, TransformerConfig
from moedocs.lab import corpora
from moedocs.lab.training import Run
from moedocs.problem import Problem

MOST_READINGS = 4  # of the same text: up to here it teaches almost as much as new text (Muennighoff et al. 2023)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """By what each size of a run is multiplied; 1 everywhere is the run itself.

    `feed_forward` is of the width of each expert and of dense networks, `rate` of the learning rate, `bias_rate` of the
    loss-free rule's step, which more steps want smaller. What a run is looked at after, its warm-up and its decay go
    with its steps.
    """

    width: int = 1
    layers: int = 1
    heads: int = 1
    feed_forward: int = 1
    steps: int = 1
    sequences: int = 1
    length: int = 1
    rate: float = 1.0
    bias_rate: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            whole = name not in ("rate", "bias_rate")
            if isinstance(value, bool) or not (isinstance(value, int) if whole else 0 < value < math.inf) or value <= 0:
                raise ValueError(f"{name}={value!r} must be a positive {'whole ' if whole else ''}number")


SCALES = {
    "small": Scale(),
    "large": Scale(
        width=8,
        layers=3,
        heads=2,
        feed_forward=8,
        steps=100,
        sequences=4,
        length=8,
        rate=0.25,
        bias_rate=0.1,
    ),
}


def scaled(run: Run, scale: Scale) -> Run:
    """The same run at another size: the same experts, rules, seeds and kinds of text."""
    return replace(
        run,
        model=_model(run.model, scale),
        training=_training(run.training, scale),
        look_at=tuple(step * scale.steps for step in run.look_at),
    )


def _model(config: TransformerConfig, scale: Scale) -> TransformerConfig:
    return replace(
        config,
        d_model=config.d_model * scale.width,
        num_layers=config.num_layers * scale.layers,
        num_heads=config.num_heads * scale.heads,
        num_kv_heads=_times(config.num_kv_heads, scale.heads),
        head_dim=None if config.head_dim is None else config.head_dim * scale.width // scale.heads,
        d_ff=config.d_ff * scale.feed_forward,
        dense_d_ff=_times(config.dense_d_ff, scale.feed_forward),
        first_dense=config.first_dense * scale.layers,
        routing=None if config.routing is None else _routing(config.routing, scale),
    )


def _routing(config: RoutingConfig, scale: Scale) -> RoutingConfig:
    balance = config.balance
    return replace(config, balance=replace(balance, bias_rate=balance.bias_rate * scale.bias_rate))


def _training(config: TrainingConfig, scale: Scale) -> TrainingConfig:
    return replace(
        config,
        steps=config.steps * scale.steps,
        warmup_steps=config.warmup_steps * scale.steps,
        decay_steps=config.decay_steps * scale.steps,
        sequences=config.sequences * scale.sequences,
        sequence_length=config.sequence_length * scale.length,
        learning_rate=config.learning_rate * scale.rate,
    )


def _times(size: int | None, factor: int) -> int | None:
    return None if size is None else size * factor


def refuse_too_little_text(run: Run) -> None:
    """Raise Problem for a run that would read its training text over and over: the standard corpora are for small ones.

    Domains have equal parts in a step, so that the shortest is read most often.
    """
    share = tokens(run) / len(run.domains)
    lengths = {domain: len(corpora.text(domain).train) for domain in run.domains}
    shortest = min(lengths, key=lambda domain: lengths[domain])
    if share > MOST_READINGS * lengths[shortest]:
        raise Problem(
            f"a run of {tokens(run):,} bytes would read the {lengths[shortest]:,} bytes of {shortest} "
            f"{share / lengths[shortest]:,.0f} times, more than {MOST_READINGS}: give more text with --text FOLDER"
        )


def tokens(run: Run) -> int:
    """Bytes that a run reads."""
    config = run.training
    return config.steps * config.sequences * config.sequence_length
