"""Calls that moedocs.lite and moedocs.engine must answer alike; this file needs neither torch nor pytest.

So it runs in CPython against both, and as it stands under WebAssembly. A new function gets a line in CASES.

Shapes: T tokens · E num_experts · K top_k · V vocab_size · D d_model · B sequences · S sequence length · P slots
"""

import base64
import io
import zlib
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moedocs import lite
from moedocs.config import BalanceConfig, DepthConfig, Groups, RoutingConfig, TransformerConfig

Arrays = dict[str, NDArray[Any]]
Case = Callable[[Any, Any], Any]

VOCAB, CATEGORIES = 5, 3


# how the router logits of a set are drawn, its sequences, their length, experts and top_k
SETS: dict[str, tuple[Callable[..., NDArray[Any]], int, int, int, int]] = {
    "ordinary": (lambda draws, *shape: draws.normal(size=shape), 4, 6, 8, 3),
    "ties": (lambda draws, *shape: draws.integers(0, 2, size=shape), 3, 4, 4, 2),
    "huge": (lambda draws, *shape: draws.choice([-3e38, -1e4, 0, 1, 1e4, 3e38], size=shape), 2, 6, 4, 2),
    "one expert": (lambda draws, *shape: draws.normal(size=shape), 2, 3, 1, 1),
    "one token": (lambda draws, *shape: draws.normal(size=shape), 1, 1, 6, 6),
    "no tokens": (lambda draws, *shape: draws.normal(size=shape), 0, 3, 4, 2),
}


def inputs(name: str) -> Arrays:
    """All that the calls of one set need, as arrays."""
    scores, sequences, length, experts, top_k = SETS[name]
    draws = np.random.default_rng(sorted(SETS).index(name))
    tokens = sequences * length
    return {
        "logits_TE": scores(draws, tokens, experts).astype(np.float32),
        "other_TE": scores(draws, tokens, experts).astype(np.float32),
        "logits_BS": scores(draws, sequences, length).astype(np.float32),
        "other_BS": scores(draws, sequences, length).astype(np.float32),
        "normal_TE": draws.normal(size=(tokens, experts)).astype(np.float32),
        "noise_TE": draws.normal(size=(tokens, experts)).astype(np.float32),
        "uniform_T": draws.random(tokens).astype(np.float32),
        "bias_E": draws.normal(size=experts).astype(np.float32),
        "load_E": draws.integers(0, 9, size=experts),
        "match_E": draws.permutation(experts),
        "ids_T": draws.integers(0, VOCAB, size=tokens),
        "table_VK": np.array([draws.permutation(experts)[:top_k] for _ in range(VOCAB)]),
        "category_T": draws.integers(0, CATEGORIES, size=tokens),
        "counts_VXE": draws.integers(0, 20, size=(VOCAB, CATEGORIES, experts)),
        "x_BSD": draws.normal(size=(sequences, length, 5)).astype(np.float32),
        "slots_EPD": draws.normal(size=(experts, 2, 5)).astype(np.float32),
        "outputs_TED": draws.normal(size=(tokens, experts, 5)).astype(np.float32),
        "probs_BSE": draws.dirichlet(np.ones(experts), size=(sequences, length)).astype(np.float32),
        "top_k": np.array(top_k),
    }


def routings(lib: Any, x: Any) -> list[Any]:
    """Two layers of one model, with drops and a load probability in each."""
    one = replace(x.routing, load_probability_TE=lib.load_probability(x.logits_TE, x.noise_TE, x.routing))
    other = replace(x.other, load_probability_TE=lib.load_probability(x.other_TE, x.noise_TE, x.other))
    return [one, other]


def described(lib: Any, x: Any, router: str, **settings: Any) -> Any:
    given = {"router": router, "num_experts": x.logits_TE.shape[1], "top_k": x.top_k, **settings}
    return lib.route(
        x.logits_TE,
        RoutingConfig(**given),
        ids_T=x.ids_T,
        table_VK=x.table_VK,
        noise_TE=x.no_noise_TE,
        sequence_length=x.length,
        generator=x.generator,
        training=router != "gshard",
    )


SMALL: dict[str, Any] = {"vocab_size": 20, "d_model": 8, "num_layers": 2, "num_heads": 2, "d_ff": 6}
FOUR = RoutingConfig(num_experts=4, top_k=2, capacity_factor=1.0, shared_experts=1)
# what the torch model computes with its arrays, lite.forward_pass must
MODELS = {
    "dense": TransformerConfig(**SMALL),
    "experts": TransformerConfig(**SMALL, routing=FOUR),
    "depth": TransformerConfig(**SMALL, depth=DepthConfig(capacity=0.5, sampling="predictor")),
    "both": TransformerConfig(**SMALL, routing=FOUR, depth=DepthConfig(capacity=0.25, every=1)),
}

ALL_LOSSES = BalanceConfig(
    auxiliary_weight=1, z_weight=0.1, importance_weight=0.2, load_weight=0.3, l1_weight=0.4, constant_weight=0.5
)
PER_SEQUENCE, PER_MICRO_BATCH = (
    BalanceConfig(auxiliary_weight=1, auxiliary_over=over) for over in ("sequence", "micro-batch")
)

# what draws is called with noise of size 0, or asked for what the draws do not change
CASES: list[tuple[str, Case]] = [
    ("always_skip_accuracy", lambda lib, x: lib.always_skip_accuracy(x.depth)),
    ("assignment_share", lambda lib, x: lib.assignment_share(routings(lib, x))),
    ("auxiliary_loss", lambda lib, x: lib.auxiliary_loss(x.routing)),
    ("auxiliary_loss", lambda lib, x: lib.auxiliary_loss(x.routing, group_size=x.length)),
    ("auxiliary_loss", lambda lib, x: lib.auxiliary_loss(x.routing, share_E=lib.assignment_share(routings(lib, x)))),
    ("balanced_choice", lambda lib, x: lib.balanced_choice(x.normal_TE)),
    ("balancing_loss", lambda lib, x: lib.balancing_loss(routings(lib, x), ALL_LOSSES, top_k=x.top_k)),
    ("balancing_loss", lambda lib, x: lib.balancing_loss([x.routing], PER_SEQUENCE, num_sequences=x.sequences)),
    ("balancing_loss", lambda lib, x: lib.balancing_loss([x.routing], PER_MICRO_BATCH, micro_batches=2)),
    ("base_assignment", lambda lib, x: lib.base_assignment(x.logits_TE)),
    ("base_assignment", lambda lib, x: lib.base_assignment(x.logits_TE, balanced=False)),
    ("byte_category_load", lambda lib, x: lib.byte_category_load(x.routing, x.ids_T, x.category_T, VOCAB, CATEGORIES)),
    ("category_load", lambda lib, x: lib.category_load(x.routing, x.category_T, CATEGORIES)),
    ("causal_choice", lambda lib, x: lib.causal_choice(x.logits_BS)),
    ("causal_choice", lambda lib, x: lib.causal_choice(x.logits_BS, x.other_BS, weight="sigmoid")),
    ("choice_accuracy", lambda lib, x: lib.choice_accuracy(lib.causal_choice(x.other_BS), x.depth)),
    ("choice_overlap", lambda lib, x: lib.choice_overlap(x.routing, x.other)),
    ("choice_recall", lambda lib, x: lib.choice_recall(lib.causal_choice(x.other_BS), x.depth)),
    ("coefficient_of_variation", lambda lib, x: lib.coefficient_of_variation(x.load_E)),
    ("constant_mean", lambda lib, x: lib.constant_mean(x.probs_BSE)),
    ("constant_sum", lambda lib, x: lib.constant_sum(x.probs_BSE)),
    ("dead_experts", lambda lib, x: lib.dead_experts(x.load_E)),
    ("depth_auxiliary_loss", lambda lib, x: lib.depth_auxiliary_loss(x.depth)),
    ("dropped_share", lambda lib, x: lib.dropped_share(x.routing)),
    ("expert_choice", lambda lib, x: lib.expert_choice(x.logits_TE, 2)),
    ("expert_choice", lambda lib, x: lib.expert_choice(x.logits_TE, 1, sequence_length=x.length)),
    ("expert_matching", lambda lib, x: lib.expert_matching(x.routing, x.other)),
    ("expert_similarity", lambda lib, x: lib.expert_similarity(x.outputs_TED)),
    ("first_choice_agreement", lambda lib, x: lib.first_choice_agreement(x.routing, x.other)),
    ("gshard_top_2", lambda lib, x: lib.gshard_top_2(x.logits_TE, generator=x.generator, threshold=0)),
    ("hash_routing", lambda lib, x: lib.hash_routing(x.ids_T, x.table_VK, x.experts)),
    ("hash_routing", lambda lib, x: lib.hash_routing(x.ids_T, x.table_VK, x.experts, x.logits_TE, scaling=2.5)),
    ("hash_table", lambda lib, x: counted(lib.hash_table(x.experts, x.experts, x.top_k, generator=x.generator))),
    ("importance_loss", lambda lib, x: lib.importance_loss(x.routing)),
    ("jittered", lambda lib, x: lib.jittered(x.x_BSD, 0, generator=x.generator)),
    ("l1_loss", lambda lib, x: lib.l1_loss(x.routing)),
    ("l1_loss", lambda lib, x: lib.l1_loss(x.routing, top_k=x.top_k)),
    ("load", lambda lib, x: lib.load(x.routing)),
    ("load_entropy", lambda lib, x: lib.load_entropy(x.load_E)),
    ("load_imbalance", lambda lib, x: lib.load_imbalance(x.load_E)),
    ("load_loss", lambda lib, x: lib.load_loss(routings(lib, x)[0])),
    ("load_probability", lambda lib, x: lib.load_probability(x.normal_TE, x.noise_TE, x.routing)),
    ("load_share", lambda lib, x: lib.load_share(x.load_E)),
    ("mutual_information", lambda lib, x: lib.mutual_information(x.counts_VXE)),
    ("mutual_information", lambda lib, x: lib.mutual_information(x.counts_VXE.sum(0), corrected=True)),
    ("no_op_share", lambda lib, x: lib.no_op_share(x.routing, 1)),
    ("noisy_logits", lambda lib, x: lib.noisy_logits(x.logits_TE, x.noise_TE, x.normal_TE)),
    ("noisy_top_k", lambda lib, x: lib.noisy_top_k(x.logits_TE, x.no_noise_TE, x.top_k, generator=x.generator)),
    ("normalised_mutual_information", lambda lib, x: lib.normalised_mutual_information(x.counts_VXE)),
    ("padded_share", lambda lib, x: lib.padded_share(x.routing, 5)),
    ("pooled", lambda lib, x: lib.pooled(routings(lib, x))),
    ("predictor_loss", lambda lib, x: lib.predictor_loss(replace(x.depth, predicted_BS=x.other_BS))),
    (
        "random_depth",
        lambda lib, x: unscored(lib.random_depth((x.sequences, x.length), x.length, generator=x.generator)),
    ),
    ("relu_routing", lambda lib, x: lib.relu_routing(x.logits_TE)),
    ("renamed", lambda lib, x: lib.renamed(routings(lib, x)[0], x.match_E)),
    ("residual_alone", lambda lib, x: lib.residual_alone(x.routing, 1)),
    ("route", lambda lib, x: described(lib, x, "softmax", capacity_factor=1.0, capacity_order="probability")),
    ("route", lambda lib, x: described(lib, x, "sigmoid", routed_scaling=2.5)),
    ("route", lambda lib, x: described(lib, x, "noisy", renormalise=True)),
    ("route", lambda lib, x: described(lib, x, "gshard", top_k=2)),
    (
        "route",
        lambda lib, x: described(lib, x, "expert-choice", capacity_factor=1.0, top_k=1, capacity_over="sequence"),
    ),
    ("route", lambda lib, x: described(lib, x, "hash")),
    ("route", lambda lib, x: described(lib, x, "base", top_k=1)),
    ("route", lambda lib, x: described(lib, x, "sinkhorn")),
    ("route", lambda lib, x: described(lib, x, "relu")),
    ("router_entropy", lambda lib, x: lib.router_entropy(x.routing)),
    ("shuffled", lambda lib, x: lib.shuffled(x.ids_T, generator=x.generator, byte_T=x.ids_T)),
    ("shuffled", lambda lib, x: counted(lib.shuffled(x.category_T, generator=x.generator))),
    ("sigmoid_top_k", lambda lib, x: lib.sigmoid_top_k(x.logits_TE, x.top_k, bias_E=x.bias_E, scaling=2.5)),
    ("sigmoid_top_k", lambda lib, x: lib.sigmoid_top_k(x.logits_TE, 1, renormalise=False, groups=Groups(2, 1))),
    ("sinkhorn", lambda lib, x: lib.sinkhorn(x.logits_TE, x.top_k)),
    ("sinkhorn", lambda lib, x: lib.sinkhorn(x.logits_TE, 1, balanced=False)),
    ("sinkhorn_plan", lambda lib, x: lib.sinkhorn_plan(x.normal_TE)),
    ("soft_dispatch", lambda lib, x: lib.soft_dispatch(x.x_BSD, x.soft, lambda slots: slots * slots)),
    ("soft_routing", lambda lib, x: x.soft),
    ("softmax_top_k", lambda lib, x: lib.softmax_top_k(x.logits_TE, x.top_k)),
    ("softmax_top_k", lambda lib, x: lib.softmax_top_k(x.logits_TE, x.top_k, renormalise=False, bias_E=x.bias_E)),
    ("softmax_top_k", lambda lib, x: lib.softmax_top_k(x.logits_TE, 1, groups=Groups(2, 1), scaling=2.5)),
    ("switch_top_1", lambda lib, x: lib.switch_top_1(x.logits_TE)),
    ("through", lambda lib, x: lib.through(x.x_BSD, x.depth, block, x.other_BS)),
    ("through", lambda lib, x: lib.through(x.x_BSD, lib.causal_choice(x.logits_BS), block, x.other_BS)),
    ("top_c", lambda lib, x: lib.top_c(x.logits_BS, 2)),
    ("top_c", lambda lib, x: lib.top_c(x.logits_BS, 1, weight="sigmoid")),
    ("top_k_softmax", lambda lib, x: lib.top_k_softmax(x.logits_TE, x.top_k)),
    ("unserved_share", lambda lib, x: lib.unserved_share(x.routing)),
    ("updated_bias", lambda lib, x: lib.updated_bias(x.bias_E, x.load_E, 0.125)),
    ("updated_l1_weight", lambda lib, x: lib.updated_l1_weight(0.5, lib.relu_routing(x.logits_TE), 1)),
    ("with_capacity", lambda lib, x: lib.with_capacity(x.other, 2)),
    ("with_capacity", lambda lib, x: lib.with_capacity(x.other, 1, group_size=x.length, order="batch-prioritized")),
    ("with_capacity", lambda lib, x: lib.with_capacity(x.other, 1, group_size=x.length, order="probability")),
    ("with_capacity", lambda lib, x: lib.load(lib.with_capacity(x.other, 2, order="random", generator=x.generator))),
    ("with_random_second", lambda lib, x: lib.with_random_second(lib.softmax_top_k(x.logits_TE, 2), x.uniform_T)),
    ("z_loss", lambda lib, x: lib.z_loss(x.routing)),
]


def block(chosen_BCD: Any, positions_BC: Any, table_BC: Any) -> Any:
    """A block that a token's position, neighbours and table all matter to."""
    return chosen_BCD * (positions_BC > 1)[..., None] + chosen_BCD.sum(1)[:, None] + 0 * table_BC[..., None]


def counted(numbers: Any) -> NDArray[Any]:
    """How often each number comes."""
    return np.bincount(np.ravel(plain(numbers)[""]))


def unscored(routing: Any) -> list[Any]:
    """A choice without the draws that made it."""
    return [routing.map_BS, routing.weights_BS, routing.index_BC]


def answers(
    lib: Any, array: Callable[[NDArray[Any]], Any], generator: Callable[[], Any], name: str, given: Arrays
) -> Arrays:
    """What `lib` makes of each case of a set, and what it says where it refuses; `array` makes arrays of its kind."""
    found: Arrays = {}
    x = SimpleNamespace(**{key: array(value) for key, value in given.items()}, generator=generator())
    x.sequences, x.length, x.experts, x.top_k = *given["logits_BS"].shape, given["logits_TE"].shape[1], int(x.top_k)
    x.no_noise_TE = array(np.full_like(given["logits_TE"], -1e4))
    x.routing = lib.with_capacity(lib.softmax_top_k(x.logits_TE, x.top_k), 3)
    x.other = lib.softmax_top_k(x.other_TE, x.top_k)
    x.depth = lib.top_c(x.logits_BS, x.length // 2)
    x.soft = lib.soft_routing(x.x_BSD, x.slots_EPD)
    for number, (function, case) in enumerate(CASES):
        try:
            result = plain(case(lib, x))
        except ValueError as error:
            result = {": refused": np.array(str(error))}
        found.update({f"{name}/{number}/{function}{place}": value for place, value in result.items()})
    return found


def read(name: str, arrays: Arrays) -> Arrays:
    """The forward pass of one of MODELS in NumPy, with the bytes that are among its arrays."""
    output = lite.forward_pass(arrays, MODELS[name], arrays["bytes_BS"])
    return {f"{name}/model/forward_pass{place}": value for place, value in plain(output).items()}


def plain(result: Any) -> Arrays:
    """The arrays and numbers of a result, each under its place in it."""
    if result is None:
        return {}
    if is_dataclass(result):
        inner = [(field.name, getattr(result, field.name)) for field in fields(result)]
    elif isinstance(result, list | tuple):
        inner = [(str(place), one) for place, one in enumerate(result)]
    else:
        return {"": np.asarray(result)}
    return {f".{place}{rest}": value for place, one in inner for rest, value in plain(one).items()}


def packed(arrays: Arrays) -> str:
    """Arrays as one line of text."""
    file = io.BytesIO()
    np.savez(file, **arrays)  # type: ignore[arg-type]
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


def unpacked(text: str) -> Arrays:
    with np.load(io.BytesIO(zlib.decompress(base64.b64decode(text)))) as file:
        return dict(file)
