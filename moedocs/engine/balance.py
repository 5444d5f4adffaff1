"""Load and the two rules that even it out: a loss with a gradient, and a bias without one.

Shapes: T tokens · E num_experts · K top_k
"""

from torch import Tensor

from moedocs.engine.record import Routing


def load(routing: Routing) -> Tensor:
    """Tokens that chose each expert (E,), whether or not capacity dropped them afterwards; sums to T * K."""
    return (routing.map_TE | routing.dropped_TE).sum(0)


def auxiliary_loss(routing: Routing) -> Tensor:
    """E * sum_i f_i P_i (Switch, eq. 4, without its weight), f_i being expert i's share of the T * K assignments.

    Perfect balance gives 1, but 1 is not the least value: f and P may differ. f_i counts choices before capacity drops
    any, and carries no gradient: the router learns through P_i, its mean probability, alone. transformers' Mixtral
    loss takes f_i as a share of tokens and so is K times this one (of one layer).
    """
    num_tokens, num_experts = routing.probs_TE.shape
    if num_tokens == 0:
        raise ValueError("the auxiliary loss of 0 tokens is not defined")
    counts_E = load(routing)
    share_E = counts_E / counts_E.sum()
    return num_experts * (share_E * routing.probs_TE.mean(0)).sum()


def updated_bias(bias_E: Tensor, counts_E: Tensor, rate: float) -> Tensor:
    """b_i + rate * sign(mean load - load_i): up by `rate` if expert i was short of tokens, down if it had too many.

    The loss-free rule (Wang et al. 2024, algorithm 1; used in DeepSeek-V3), applied after a step. At perfect balance
    nothing moves; the size of an imbalance does not matter, only its sign.
    """
    counts_E = counts_E.double()
    return bias_E + rate * (counts_E.mean() - counts_E).sign().to(bias_E.dtype)
