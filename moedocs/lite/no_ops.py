"""Integrated MoDE in NumPy, the twin of moedocs.engine.no_ops: the last choices of a router are no-op experts.

Shapes: T tokens · E num_experts, without the no-ops
"""

import numpy as np

from moedocs.lite.balance import load
from moedocs.lite.record import Bools, Routing


def residual_alone(routing: Routing, num_experts: int) -> Bools:
    """Which tokens (T,) no expert serves, so that the layer adds nothing: all no-ops, or dropped by capacity."""
    _fits(routing, num_experts)
    return np.asarray(~routing.map_TE[:, :num_experts].any(1))


def no_op_share(routing: Routing, num_experts: int) -> float:
    """Share of all assignments that went to no-ops, dropped or not; raises ValueError for 0 assignments."""
    _fits(routing, num_experts)
    counts = load(routing)
    if not counts.any():
        raise ValueError("the no-op share of 0 assignments is not defined")
    return float(counts[num_experts:].sum() / counts.sum())


def _fits(routing: Routing, num_experts: int) -> None:
    choices = routing.map_TE.shape[1]
    if not 1 <= num_experts <= choices:
        raise ValueError(f"num_experts={num_experts} must lie in 1..{choices}, the choices of the router")
