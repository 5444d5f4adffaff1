"""Routings that settle the load outside the loss in NumPy, the twin of moedocs.engine.assignment.

Shapes: T tokens · E num_experts · K top_k · V vocab_size
"""

import numpy as np
from numpy.typing import ArrayLike

from moedocs.lite.record import (
    Floats,
    Ints,
    Routing,
    accepted,
    best_first,
    chosen_map,
    listed,
    routed,
    sigmoid,
    softmax,
)
from moedocs.lite.transport import balanced_choice

# what Megatron-Core adds to each sum before it divides by it
SINKHORN_EPSILON = 1e-8


def hash_table(vocab_size: int, num_experts: int, top_k: int, *, generator: np.random.Generator) -> Ints:
    """K different experts at random for each entry of the vocabulary (V, K), each expert as often as any other (±1).

    The same rule as in torch, but not the same draws: the two libraries have generators of their own.
    """
    if vocab_size < 1:
        raise ValueError(f"vocab_size={vocab_size} must be at least 1")
    if not 1 <= top_k <= num_experts:
        raise ValueError(f"top_k={top_k} must lie in 1..num_experts={num_experts}")
    counts_E = np.zeros(num_experts)
    table_VK = np.empty((vocab_size, top_k), dtype=np.int64)
    for row_K in table_VK:
        # the whole part is the load so far, the fraction draws among the least loaded
        row_K[:] = np.argsort(counts_E + generator.random(num_experts))[:top_k]
        counts_E[row_K] += 1
    return table_VK


def hash_routing(
    ids_T: ArrayLike,
    table_VK: ArrayLike,
    num_experts: int,
    logits_TE: ArrayLike | None = None,
    *,
    scaling: float = 1.0,
) -> Routing:
    """Each token goes where `table_VK` sends its id, whatever its context (Hash Layers, Roller et al. 2021).

    Without logits all K weights are 1 / K and the record's logits are zeros; with logits the weights are
    sqrt(softplus(logit)) divided by the sum over the chosen (DeepSeek-V4's hash layers). `scaling` multiplies the
    finished weights. Raises ValueError where torch does.
    """
    index_TK = _looked_up(np.asarray(ids_T), np.asarray(table_VK), num_experts)
    map_TE = chosen_map(index_TK, num_experts)
    factor = np.float32(scaling)
    if logits_TE is None:
        shares_TE: Floats = map_TE.astype(np.float32) / np.float32(index_TK.shape[1])
        return routed(np.zeros_like(shares_TE), shares_TE, factor * shares_TE, index_TK, map_TE)
    logits_TE = np.asarray(logits_TE)
    if logits_TE.shape != map_TE.shape:
        raise ValueError(f"router logits of shape {logits_TE.shape} do not fit {map_TE.shape}")
    logits_TE = accepted(logits_TE)
    logs_TE = _log_sqrt_softplus(logits_TE)
    weights_TE = softmax(np.where(map_TE, logs_TE, np.float32(-np.inf)))
    return routed(logits_TE, softmax(logs_TE), factor * weights_TE, listed(logits_TE, map_TE), map_TE)


def base_assignment(logits_TE: ArrayLike, *, balanced: bool = True) -> Routing:
    """Each token gets one expert, each expert floor or ceil of T / E tokens, so that the sum of logits is largest.

    BASE layers (Lewis et al. 2021): the weight is the sigmoid of the chosen logit. Not causal; `balanced=False` takes
    each token's highest logit, the lowest expert index among equal ones, as BASE does to generate. Raises ValueError
    for a logit that is not finite, naming its token.
    """
    logits_TE = accepted(logits_TE)
    index_TK = balanced_choice(logits_TE)[:, None] if balanced else best_first(logits_TE, 1)
    return routed(logits_TE, softmax(logits_TE), sigmoid(logits_TE), index_TK)


def sinkhorn(logits_TE: ArrayLike, top_k: int, *, balanced: bool = True) -> Routing:
    """Each token takes its K highest entries of the Sinkhorn plan, which evens out the experts; Megatron-Core's.

    The weights are the sigmoid of the logit for K = 1 and its softmax, not renormalised, for more. Not causal;
    `balanced=False` takes the K highest logits. Equal entries go to the lowest expert index, as in torch. Raises
    ValueError for a logit that is not finite, naming its token, and for a `top_k` that does not fit.
    """
    logits_TE = accepted(logits_TE)
    scores_TE = sinkhorn_plan(logits_TE) if balanced else logits_TE
    probs_TE = softmax(logits_TE)
    weights_TE = sigmoid(logits_TE) if top_k == 1 else probs_TE
    return routed(logits_TE, probs_TE, weights_TE, best_first(scores_TE, top_k))


def sinkhorn_plan(logits_TE: ArrayLike, *, tolerance: float = 1e-4, most_rounds: int = 100) -> Floats:
    """exp(logits) with rows and columns scaled in turn, until rows sum to 1 / T and columns to 1 / E.

    Stops when the mean change of the columns' factors is at most `tolerance`, or after `most_rounds` as it is. In
    float64, rounded to float32: so NumPy and torch agree on what is equal.
    """
    logits_TE = accepted(logits_TE)
    powers_TE = np.exp(logits_TE.astype(np.float64) - logits_TE.max(1, keepdims=True))
    num_tokens, num_experts = powers_TE.shape
    rows_T1, columns_E = np.ones((num_tokens, 1)), np.ones(num_experts)
    for _ in range(most_rounds if num_tokens else 0):
        before_E = columns_E
        rows_T1 = 1 / (num_tokens * ((powers_TE * columns_E).sum(1, keepdims=True) + SINKHORN_EPSILON))
        columns_E = 1 / (num_experts * ((powers_TE * rows_T1).sum(0) + SINKHORN_EPSILON))
        if np.abs(columns_E - before_E).mean() <= tolerance:
            break
    plan_TE: Floats = (powers_TE * rows_T1 * columns_E).astype(np.float32)
    return plan_TE


def _looked_up(ids_T: Ints, table_VK: Ints, num_experts: int) -> Ints:
    """The table's row of each id (T, K), checked to be different experts."""
    if table_VK.ndim != 2 or table_VK.shape[1] == 0 or not np.issubdtype(table_VK.dtype, np.integer):
        raise ValueError(f"the table must have a row of experts per id, not shape {table_VK.shape}")
    if ids_T.ndim != 1 or not np.issubdtype(ids_T.dtype, np.integer):
        raise ValueError(f"ids must be one row of whole numbers, not shape {ids_T.shape} of {ids_T.dtype}")
    ids_T = ids_T.astype(np.int64)
    if (unknown_T := (ids_T < 0) | (ids_T >= len(table_VK))).any():
        token = int(unknown_T.argmax())
        raise ValueError(f"id of token {token} is {ids_T[token]}, not in 0..{len(table_VK) - 1}, the rows of the table")
    index_TK = table_VK[ids_T].astype(np.int64)
    wrong_TK = (index_TK < 0) | (index_TK >= num_experts)
    twice_T = (np.diff(np.sort(index_TK, axis=1), axis=1) == 0).any(1)
    if (bad_T := wrong_TK.any(1) | twice_T).any():
        token = int(bad_T.argmax())
        experts = index_TK[token].tolist()
        raise ValueError(f"experts of token {token} are {experts}, not different ones in 0..{num_experts - 1}")
    return index_TK


def _log_sqrt_softplus(logits_TE: Floats) -> Floats:
    """log(sqrt(log(1 + exp(x)))), finite where the exponential underflows: log(1 + y) is y to rounding for small y."""
    low = np.float32(-20)
    high_TE = np.logaddexp(np.maximum(logits_TE, low), np.float32(0))
    logs_TE: Floats = np.where(logits_TE < low, logits_TE, np.log(high_TE)) * np.float32(0.5)
    return logs_TE
