"""What routing at random does, without drawing: exact values to stand beside a simulation.

Shapes: E num_experts · K top_k · U moments of time · X tokens left · Y tokens dropped
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


def mean_overflow(num_tokens: int, shares_E: ArrayLike, capacity: int) -> float:
    """Expected tokens dropped in all when each of T picks one expert by these shares: a sum of binomial overflows.

    The loads hang together, as they sum to T; the mean of a sum does not care. For its spread see
    `multinomial_overflow`.
    """
    return sum(binomial_overflow(num_tokens, float(share), capacity) for share in _accepted_shares(shares_E))


def multinomial_overflow(num_tokens: int, shares_E: ArrayLike, capacity: int) -> NDArray[np.float64]:
    """Chance (T + 1,) that 0, 1, …, T tokens are dropped in all when each of T picks one expert by these shares.

    Exact but for rounding: the experts come one after the other, each takes a binomial number of the tokens that are
    left, and the joint chances of tokens left and tokens dropped are carried on. Nothing is subtracted, so small
    chances are right too. Takes up to about E * T^3 / 2 steps: made for hundreds of tokens, not for thousands.
    """
    shares_E = _accepted_shares(shares_E)
    if num_tokens < 0 or capacity < 0:
        raise ValueError(f"num_tokens={num_tokens} and capacity={capacity} must not be negative")
    later_E = np.append(shares_E[:0:-1].cumsum()[::-1], 0)
    left_dropped_XY = np.zeros((num_tokens + 1, num_tokens + 1))
    left_dropped_XY[num_tokens, 0] = 1
    for share, later in zip(shares_E, later_E, strict=True):
        if share:
            taken_XX = _binomials(num_tokens, share / (share + later), later / (share + later))
            left_dropped_XY = _one_expert_served(left_dropped_XY, taken_XX, capacity)
    return np.asarray(left_dropped_XY[0])


def _one_expert_served(
    before_XY: NDArray[np.float64], taken_XX: NDArray[np.float64], capacity: int
) -> NDArray[np.float64]:
    """Joint chances of tokens left (X) and dropped (Y) once an expert has taken its share of those left."""
    size = len(before_XY)
    after_XY = np.zeros_like(before_XY)
    for taken in range(size):
        over = max(taken - capacity, 0)
        after_XY[: size - taken, over:] += taken_XX[taken:, [taken]] * before_XY[taken:, : size - over]
    return after_XY


def _binomials(most: int, chance: float, other: float) -> NDArray[np.float64]:
    """Row n, column x: the chance of x successes in n trials, for every n up to `most`, by Pascal's rule.

    `other` is 1 - chance, from whoever has it without the rounding of a difference.
    """
    table_XX = np.zeros((most + 1, most + 1))
    table_XX[0, 0] = 1
    for trials in range(1, most + 1):
        table_XX[trials] = other * table_XX[trials - 1]
        table_XX[trials, 1:] += chance * table_XX[trials - 1, :-1]
    return table_XX


def _accepted_shares(shares_E: ArrayLike) -> NDArray[np.float64]:
    shares_E = np.asarray(shares_E, dtype=np.float64)
    if shares_E.ndim != 1 or not (shares_E >= 0).all() or not abs(shares_E.sum() - 1) < 1e-6:
        raise ValueError(f"shares must be a row of numbers, at least 0, that sum to 1, not {shares_E}")
    return np.asarray(shares_E / shares_E.sum())


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
