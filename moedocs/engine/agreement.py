"""How alike two routings of the same tokens are, and how alike experts are.

Shapes: T tokens · E num_experts · K top_k · D width of what is compared
"""

from dataclasses import fields, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from moedocs.engine.record import Routing
from moedocs.engine.transport import balanced_choice


def first_choice_agreement(one: Routing, other: Routing) -> Tensor:
    """Share of tokens with the same first choice in two routings of the same tokens, such as two checkpoints'.

    Two routings that know nothing of each other agree too, in sum_e share_e share'_e of the tokens: 1 / E at perfect
    balance, far more after a collapse.
    """
    _check(one, other)
    return (one.index_TK[:, 0] == other.index_TK[:, 0]).double().mean()


def choice_overlap(one: Routing, other: Routing) -> Tensor:
    """Mean over tokens of |A ∩ B| / |A ∪ B| (Jaccard) of the experts chosen in two routings of the same tokens.

    Choices that capacity dropped count; two empty sets are alike. For K = 2, one expert of two in common gives 1/3.
    """
    _check(one, other)
    a_TE, b_TE = (routing.chosen_TE for routing in (one, other))
    common_T, either_T = (a_TE & b_TE).sum(1).double(), (a_TE | b_TE).sum(1)
    return torch.where(either_T > 0, common_T / either_T.clamp_min(1), 1.0).mean()


def expert_matching(one: Routing, other: Routing) -> Tensor:
    """For each expert of `one` its own expert of `other` (E,), so that the most choices of the same tokens coincide.

    Experts of two seeds have no common order; this finds the best one, exactly. Fitted to its tokens:
    what agreement it gives must be measured on others, where chance is not fitted too.
    """
    _check(one, other)
    a_TE, b_TE = (routing.chosen_TE for routing in (one, other))
    return balanced_choice(a_TE.double().T @ b_TE.double())


def renamed(routing: Routing, match_E: Tensor) -> Routing:
    """The same routing with expert `match_E[e]` called e: `renamed(other, expert_matching(one, other))` is as `one`."""
    num_experts = routing.map_TE.shape[1]
    if sorted(match_E.tolist()) != list(range(num_experts)):
        raise ValueError(f"match_E={match_E.tolist()} must name each of {num_experts} experts once")
    tables = {field.name: getattr(routing, field.name) for field in fields(routing) if field.name.endswith("_TE")}
    columns = {name: table_TE[:, match_E] for name, table_TE in tables.items() if table_TE is not None}
    index_TK = torch.where(routing.index_TK < 0, -1, match_E.argsort()[routing.index_TK])
    return replace(routing, index_TK=index_TK, **columns)


def expert_similarity(vectors_TED: Tensor) -> Tensor:
    """Cosine of each pair of experts (E, E), mean over tokens: of their outputs for the same tokens (T, E, D).

    Weights flattened to (E, D) will do too, but tell less: the hidden units of an expert can stand in any order, so
    two that compute the same may have a cosine near 0. A vector of zeros is like nothing, itself included: 0.
    """
    if vectors_TED.ndim not in (2, 3) or len(vectors_TED) == 0:
        raise ValueError(f"vectors of shape {tuple(vectors_TED.shape)} must be (T, E, D) or (E, D), not empty")
    unit_TED = normalize(vectors_TED.double(), dim=-1, eps=torch.finfo(torch.float64).tiny)
    cosine = unit_TED @ unit_TED.mT
    return cosine if cosine.ndim == 2 else cosine.mean(0)


def _check(one: Routing, other: Routing) -> None:
    shapes = tuple(one.map_TE.shape), tuple(other.map_TE.shape)
    if shapes[0] != shapes[1]:
        raise ValueError(f"routings of shapes {shapes[0]} and {shapes[1]} are not of the same tokens and experts")
    if shapes[0][0] == 0:
        raise ValueError("the agreement on 0 tokens is not defined")
