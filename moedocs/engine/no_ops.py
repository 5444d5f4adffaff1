"""Integrated MoDE (Raposo et al. 2024, section 4.3): the last choices of a router are no-ops, chosen to skip.

There is nothing to compute: the no-ops are the columns after the E experts in every field of a Routing, and a dispatch
sums over the first E alone. So a token sent there, in part or whole, takes the residual alone for that part; no-ops
count as choices in the load, in the losses and among the renormalised weights, and have a capacity like any expert.
Unlike staged MoDE, attention sees every token.

Shapes: T tokens · E num_experts, without the no-ops
"""

from torch import Tensor

from moedocs.engine.balance import load
from moedocs.engine.record import Routing


def residual_alone(routing: Routing, num_experts: int) -> Tensor:
    """Which tokens (T,) no expert serves, so that the layer adds nothing: all no-ops, or dropped by capacity."""
    _fits(routing, num_experts)
    return ~routing.map_TE[:, :num_experts].any(1)


def no_op_share(routing: Routing, num_experts: int) -> Tensor:
    """Share of all assignments that went to no-ops, dropped or not: what is saved of the experts' work.

    Raises ValueError for 0 assignments.
    """
    _fits(routing, num_experts)
    counts = load(routing)
    if not counts.any():
        raise ValueError("the no-op share of 0 assignments is not defined")
    return counts[num_experts:].sum() / counts.sum()


def _fits(routing: Routing, num_experts: int) -> None:
    choices = routing.map_TE.shape[1]
    if not 1 <= num_experts <= choices:
        raise ValueError(f"num_experts={num_experts} must lie in 1..{choices}, the choices of the router")
