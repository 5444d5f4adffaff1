"""Routings that settle the load outside the loss: by a table, by balanced assignment, by Sinkhorn's algorithm.

Shapes: T tokens · E num_experts · K top_k · V vocab_size
"""

import torch
from torch import Generator, Tensor
from torch.nn.functional import softplus

from moedocs.engine.record import Routing, accepted, best_first, chosen_map, listed, routed
from moedocs.engine.transport import balanced_choice

# what Megatron-Core adds to each sum before it divides by it
SINKHORN_EPSILON = 1e-8


def hash_table(vocab_size: int, num_experts: int, top_k: int, *, generator: Generator) -> Tensor:
    """K different experts at random for each entry of the vocabulary (V, K), each expert as often as any other (±1).

    The balance is over the vocabulary, not over text: a frequent token brings its whole load to its K experts, so loads
    in use are far from even. Raises ValueError for an empty vocabulary and for a `top_k` that does not fit.
    """
    if vocab_size < 1:
        raise ValueError(f"vocab_size={vocab_size} must be at least 1")
    if not 1 <= top_k <= num_experts:
        raise ValueError(f"top_k={top_k} must lie in 1..num_experts={num_experts}")
    counts_E = torch.zeros(num_experts, dtype=torch.float64)
    table_VK = torch.empty(vocab_size, top_k, dtype=torch.int64)
    for row_K in table_VK:
        # the whole part is the load so far, the fraction draws among the least loaded
        row_K[:] = (counts_E + torch.rand(num_experts, dtype=torch.float64, generator=generator)).argsort()[:top_k]
        counts_E[row_K] += 1
    return table_VK


def hash_routing(
    ids_T: Tensor, table_VK: Tensor, num_experts: int, logits_TE: Tensor | None = None, *, scaling: float = 1.0
) -> Routing:
    """Each token goes where `table_VK` sends its id, whatever its context (Hash Layers, Roller et al. 2021).

    Without logits all K weights are 1 / K, nothing is learned, and the record's logits are zeros. With logits the
    choice stays the table's and the weights are learned: sqrt(softplus(logit)) divided by the sum over the chosen
    (DeepSeek-V4's hash layers), then listed best first; `probs_TE` are shares of the same scores over all experts.
    `scaling` multiplies the finished weights. Causal. Raises ValueError for an id that is not in the table and for one
    whose row is not K different experts, naming the token, and for logits of another shape or not finite.
    """
    index_TK = _looked_up(ids_T, table_VK, num_experts)
    map_TE = chosen_map(index_TK, num_experts)
    if logits_TE is None:
        shares_TE = map_TE / table_VK.shape[1]
        return routed(torch.zeros_like(shares_TE), shares_TE, scaling * shares_TE, index_TK, map_TE)
    if logits_TE.shape != map_TE.shape:
        raise ValueError(f"router logits of shape {tuple(logits_TE.shape)} do not fit {tuple(map_TE.shape)}")
    logits_TE = accepted(logits_TE)
    logs_TE = _log_sqrt_softplus(logits_TE)
    # the softmax of logarithms divides by the sum, and survives the underflow of all scores
    weights_TE = logs_TE.masked_fill(~map_TE, -torch.inf).softmax(-1)
    return routed(logits_TE, logs_TE.softmax(-1), scaling * weights_TE, listed(logits_TE.detach(), map_TE), map_TE)


def base_assignment(logits_TE: Tensor, *, balanced: bool = True) -> Routing:
    """Each token gets one expert, each expert floor or ceil of T / E tokens, so that the sum of logits is largest.

    BASE layers (Lewis et al. 2021): the weight is the sigmoid of the chosen logit, the only path of its gradient, and
    there is no balancing loss. `probs_TE`, the softmax, plays no part. NOT causal: a token's expert depends on all
    tokens of the batch. That is for training; to generate, BASE takes the highest logit instead (`balanced=False`),
    and loads are then what they are. Their auction stops near the best sum, `balanced_choice` at it. Ties of
    `balanced=False` go to the lowest index. Raises ValueError for a logit that is not finite, naming its token.
    """
    logits_TE = accepted(logits_TE)
    index_TK = balanced_choice(logits_TE)[:, None] if balanced else best_first(logits_TE, 1)
    return routed(logits_TE, logits_TE.softmax(-1), logits_TE.sigmoid(), index_TK)


def sinkhorn(logits_TE: Tensor, top_k: int, *, balanced: bool = True) -> Routing:
    """Each token takes its K highest entries of the Sinkhorn plan, which evens out the experts; Megatron-Core's.

    The plan (see `sinkhorn_plan`) only chooses and carries no gradient; the weights are the sigmoid of the logit for
    K = 1 and its softmax over all experts, not renormalised, for more. The plan is balanced, the choice made from it
    only nearly. NOT causal, so `balanced=False` is for generating: the K highest logits. Choices are listed in the
    order in which they were chosen. Equal entries go to the lowest expert index, in NumPy too. Raises ValueError for a
    logit that is not finite, naming its token, and for a `top_k` that does not fit.
    """
    logits_TE = accepted(logits_TE)
    scores_TE = sinkhorn_plan(logits_TE) if balanced else logits_TE
    probs_TE = logits_TE.softmax(-1)
    weights_TE = logits_TE.sigmoid() if top_k == 1 else probs_TE
    return routed(logits_TE, probs_TE, weights_TE, best_first(scores_TE, top_k))


@torch.no_grad()
def sinkhorn_plan(logits_TE: Tensor, *, tolerance: float = 1e-4, most_rounds: int = 100) -> Tensor:
    """exp(logits) with rows and columns scaled in turn, until rows sum to 1 / T and columns to 1 / E.

    Sinkhorn's algorithm with the stopping rule of Megatron-Core: the mean change of the columns' factors is at most
    `tolerance`. Unlike there, each row's largest logit is subtracted first, so that no exponential overflows and the
    constant added to each sum weighs little however low all logits are; and after `most_rounds` it stops as it is: the
    constant keeps the factors growing for ever where an expert is wanted by nobody. In float64, rounded to float32, so
    that what is equal on paper is equal here.
    """
    logits_TE = accepted(logits_TE).double()
    powers_TE = (logits_TE - logits_TE.amax(1, keepdim=True)).exp()
    num_tokens, num_experts = powers_TE.shape
    rows_T1, columns_E = torch.ones_like(powers_TE[:, :1]), powers_TE.new_ones(num_experts)
    for _ in range(most_rounds if num_tokens else 0):
        before_E = columns_E
        rows_T1 = 1 / (num_tokens * ((powers_TE * columns_E).sum(1, keepdim=True) + SINKHORN_EPSILON))
        columns_E = 1 / (num_experts * ((powers_TE * rows_T1).sum(0) + SINKHORN_EPSILON))
        if (columns_E - before_E).abs().mean() <= tolerance:
            break
    return (powers_TE * rows_T1 * columns_E).float()


def _looked_up(ids_T: Tensor, table_VK: Tensor, num_experts: int) -> Tensor:
    """The table's row of each id (T, K), checked to be different experts."""
    if table_VK.ndim != 2 or table_VK.shape[1] == 0 or table_VK.is_floating_point():
        raise ValueError(f"the table must have a row of experts per id, not shape {tuple(table_VK.shape)}")
    if ids_T.ndim != 1 or ids_T.is_floating_point():
        raise ValueError(f"ids must be one row of whole numbers, not shape {tuple(ids_T.shape)} of {ids_T.dtype}")
    ids_T = ids_T.long()
    if (unknown_T := (ids_T < 0) | (ids_T >= len(table_VK))).any():
        token = int(unknown_T.nonzero()[0])
        raise ValueError(f"id of token {token} is {ids_T[token]}, not in 0..{len(table_VK) - 1}, the rows of the table")
    index_TK = table_VK[ids_T].long()
    wrong_TK = (index_TK < 0) | (index_TK >= num_experts)
    twice_T = (index_TK.sort(dim=1).values.diff(dim=1) == 0).any(1)
    if (bad_T := wrong_TK.any(1) | twice_T).any():
        token = int(bad_T.nonzero()[0])
        experts = index_TK[token].tolist()
        raise ValueError(f"experts of token {token} are {experts}, not different ones in 0..{num_experts - 1}")
    return index_TK


def _log_sqrt_softplus(logits_TE: Tensor) -> Tensor:
    """log(sqrt(log(1 + exp(x)))), finite where the exponential underflows: log(1 + y) is y to rounding for small y."""
    low = -20.0
    return torch.where(logits_TE < low, logits_TE, softplus(logits_TE.clamp(min=low)).log()) / 2
