"""What routing at random does, without drawing: exact values to stand beside a simulation.

Shapes: E num_experts · K top_k · U moments of time
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray


def binomial_overflow(num_tokens: int, probability: float, capacity: int) -> float:
    """E[max(X - C, 0)] for X ~ Binomial(T, p): the tokens an expert drops if each comes by itself with chance p.

    A sum over all outcomes, in logarithms against underflow: exact but for rounding.
    """
    if num_tokens < 0 or capacity < 0:
        raise ValueError(f"num_tokens={num_tokens} and capacity={capacity} must not be negative")
    if not 0 <= probability <= 1:
        raise ValueError(f"probability={probability} must lie in 0..1")
    if probability in (0, 1):
        return float(max(num_tokens * probability - capacity, 0))
    tokens = np.arange(num_tokens + 1)
    # P(X = x + 1) / P(X = x) = (T - x) / (x + 1) * p / (1 - p)
    steps = np.log((num_tokens - tokens[:-1]) / tokens[1:]) + np.log(probability) - np.log1p(-probability)
    heights = np.append(0.0, steps.cumsum())
    chances = np.exp(heights - heights.max())
    return float((chances * np.maximum(tokens - capacity, 0)).sum() / chances.sum())


def inclusion_probability(weights_E: ArrayLike, top_k: int) -> NDArray[np.float64]:
    """Chance of each expert to be among K drawn without replacement with chances in proportion to the weights.

    That is top-k of log-weights plus Gumbel noise (Plackett-Luce), and also a race: give expert i a clock that rings
    after an exponential time of rate w_i; the K first to ring are chosen. So expert i is in with chance
    integral of w_i exp(-w_i t) P(fewer than K others have rung by t) dt. It sums to K, and is NOT K times the weight.
    Summed over an even grid in log t, where the trapezoidal rule leaves nothing but rounding.
    """
    weights_E = np.asarray(weights_E, dtype=np.float64)
    able = np.count_nonzero(weights_E)
    if weights_E.ndim != 1 or not np.isfinite(weights_E).all() or (weights_E < 0).any():
        raise ValueError(f"weights must be a row of finite numbers, at least 0, not {weights_E}")
    if not 1 <= top_k <= able:
        raise ValueError(f"top_k={top_k} must lie in 1..{able}, the number of experts with a weight above 0")
    rate_E = weights_E / weights_E.max()
    step = 0.1
    time_U = np.exp(np.arange(-40, np.log(1 / rate_E[rate_E > 0].min()) + 5, step))
    hazard_UE = time_U[:, None] * rate_E
    density_UE = hazard_UE * np.exp(-hazard_UE) * _fewer_others(-np.expm1(-hazard_UE), top_k)
    return np.asarray(step * density_UE.sum(0))


def _fewer_others(rung_UE: NDArray[np.float64], top_k: int) -> NDArray[np.float64]:
    """P(fewer than K of the OTHER experts have rung): experts join one by one the counts of all but themselves."""
    counts_KUE = np.zeros((top_k, *rung_UE.shape))
    counts_KUE[0] = 1
    for expert in range(rung_UE.shape[1]):
        rung_UE1 = rung_UE[:, [expert]] * (np.arange(rung_UE.shape[1]) != expert)
        one_more_KUE = np.concatenate([np.zeros_like(counts_KUE[:1]), counts_KUE[:-1]])
        counts_KUE = counts_KUE * (1 - rung_UE1) + one_more_KUE * rung_UE1
    return np.asarray(counts_KUE.sum(0))
