"""From a description to a routing: the one place where the name of a router becomes a function.

Shapes: T tokens · E choices of a router (num_experts, and the no-ops after them) · K top_k · V vocab_size
"""

from dataclasses import replace

from torch import Generator, Tensor

from moedocs.config import RoutingConfig
from moedocs.config.routing import slots_of
from moedocs.engine.assignment import base_assignment, hash_routing, sinkhorn
from moedocs.engine.by_expert import expert_choice
from moedocs.engine.noise import gshard_top_2, load_probability, noisy_top_k
from moedocs.engine.overflow import with_capacity
from moedocs.engine.record import Routing, accepted
from moedocs.engine.relu import relu_routing
from moedocs.engine.token_choice import sigmoid_top_k, softmax_top_k, top_k_softmax


def route(
    logits_TE: Tensor,
    config: RoutingConfig,
    *,
    bias_E: Tensor | None = None,
    noise_TE: Tensor | None = None,
    ids_T: Tensor | None = None,
    table_VK: Tensor | None = None,
    sequence_length: int | None = None,
    generator: Generator | None = None,
    training: bool = True,
) -> Routing:
    """The routing that `config` describes, with its capacity: what every MoE layer calls.

    `bias_E` moves the choice of "softmax" and "sigmoid"; "noisy" needs the `noise_TE` logits, "hash" the tokens' ids
    and the table; what is per sequence needs the `sequence_length`, what draws in training a `generator`. With
    training=False it routes as text is generated: nothing is drawn (no noise, GShard's second expert always kept,
    capacity in order), "base" and "sinkhorn" take the best experts whatever the load. "expert-choice" and a capacity
    stay what they are, so that a token still depends on later ones. Raises ValueError for what is needed and missing,
    and for logits that are not finite or not one per choice.
    """
    logits_TE = accepted(logits_TE)
    if logits_TE.shape[1] != config.choices:
        raise ValueError(f"{logits_TE.shape[1]} logits a token do not fit {config.choices} choices")
    if config.router == "expert-choice":
        slots, group_size = slots_of(len(logits_TE), config, sequence_length)
        return expert_choice(logits_TE, slots, sequence_length=group_size)
    if config.router in ("softmax", "sigmoid"):
        routing = _scored(logits_TE, config, bias_E)
    elif config.router == "hash":
        routing = _hashed(logits_TE, config, ids_T, table_VK)
    elif training and config.router in ("noisy", "gshard"):
        routing = _drawn(logits_TE, config, noise_TE, generator)
    else:
        routing = _plain(logits_TE, config, training)
    if config.capacity_factor is None:
        return routing
    slots, group_size = slots_of(len(logits_TE), config, sequence_length)
    order = config.capacity_order if training or config.capacity_order != "random" else "order"
    return with_capacity(routing, slots, order=order, group_size=group_size, generator=generator)


def _scored(logits_TE: Tensor, config: RoutingConfig, bias_E: Tensor | None) -> Routing:
    score = softmax_top_k if config.router == "softmax" else sigmoid_top_k
    return score(
        logits_TE,
        config.top_k,
        renormalise=config.renormalise,
        bias_E=bias_E,
        groups=config.groups,
        scaling=config.routed_scaling,
    )


def _hashed(logits_TE: Tensor, config: RoutingConfig, ids_T: Tensor | None, table_VK: Tensor | None) -> Routing:
    if ids_T is None or table_VK is None:
        raise ValueError("router='hash' needs the ids of the tokens and the table")
    return hash_routing(ids_T, table_VK, config.choices, logits_TE, scaling=config.routed_scaling)


def _drawn(logits_TE: Tensor, config: RoutingConfig, noise_TE: Tensor | None, generator: Generator | None) -> Routing:
    if generator is None:
        raise ValueError(f"router={config.router!r} draws in training: it needs a generator")
    if config.router == "gshard":
        return gshard_top_2(logits_TE, generator=generator)
    if noise_TE is None:
        raise ValueError("router='noisy' needs noise logits")
    routing = noisy_top_k(logits_TE, noise_TE, config.top_k, generator=generator)
    if not config.balance.load_weight:
        return routing
    return replace(routing, load_probability_TE=load_probability(logits_TE, noise_TE, routing))


def _plain(logits_TE: Tensor, config: RoutingConfig, training: bool) -> Routing:
    """What needs nothing but the logits."""
    if config.router == "base":
        return base_assignment(logits_TE, balanced=training)
    if config.router == "sinkhorn":
        return sinkhorn(logits_TE, config.top_k, balanced=training)
    return relu_routing(logits_TE) if config.router == "relu" else top_k_softmax(logits_TE, config.top_k)
