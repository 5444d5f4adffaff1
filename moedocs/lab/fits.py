"""What several seeds say: a difference that is more than noise or not, and a power law with its error.

Shapes: R seeds · N budgets
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["better", "worse", "within noise"]
Floats = NDArray[np.floating[Any]]

# of Student's t, 5 % outside both, by seeds less one: so many standard errors a difference must exceed
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
EXPONENTS = (1e-3, 4.0)  # where the fit looks for one
REFINEMENTS = 7
GRID = 21


@dataclass(frozen=True)
class Difference:
    """Mean over seeds of loss minus reference loss, its standard error, and whether that is more than noise."""

    mean: float
    standard_error: float
    verdict: Verdict


def difference(losses: Sequence[float], reference: Sequence[float]) -> Difference:
    """Compare the losses of two arms, seed by seed: what a seed does to both alike is no noise.

    Better or worse only where a paired t-test says so at 5 %: of two arms that are equal it calls 1 in 20 different, of
    a table of comparisons some. With three seeds that takes 4.3 standard errors: "within noise" is then no proof of
    equality. Raises ValueError unless each has 2 to 10 seeds.
    """
    if len(losses) != len(reference) or not 2 <= len(losses) <= len(STUDENT) + 1:
        raise ValueError(f"{len(losses)} and {len(reference)} losses: give as many of each, of 2 to 10 seeds")
    paired_R = np.subtract(losses, reference, dtype=np.float64)
    mean, error = float(paired_R.mean()), float(paired_R.std(ddof=1) / math.sqrt(len(paired_R)))
    if abs(mean) <= STUDENT[len(paired_R) - 2] * error:
        return Difference(mean, error, "within noise")
    return Difference(mean, error, "better" if mean < 0 else "worse")


@dataclass(frozen=True)
class PowerLaw:
    """loss = floor + scale * (compute / reference) ** -exponent: at the reference it is `scale` above the floor."""

    floor: float
    scale: float
    exponent: float
    reference: float

    def at(self, compute_N: Floats) -> Floats:
        """The losses it gives."""
        curve_N: Floats = self.floor + self.scale * (compute_N / self.reference) ** -self.exponent
        return curve_N


@dataclass(frozen=True)
class Fit:
    """A power law through the mean of the seeds, the standard error of each number in it, and how far off it is.

    `residual` is the root mean square distance of the mean losses from the curve: if it exceeds their own standard
    error, the losses do not follow the law.
    """

    law: PowerLaw
    floor_error: float
    scale_error: float
    exponent_error: float
    residual: float


def power_law(compute_N: Floats, losses_N: Floats, *, floor: bool) -> PowerLaw:
    """Least squares on the loss: for each exponent the best floor and scale are known, so only that is searched for.

    Without a `floor`, and where the best one would be negative, it is 0. Raises ValueError for fewer points than
    numbers to find.
    """
    if len(compute_N) != len(losses_N) or len(compute_N) < 2 + floor:
        raise ValueError(f"{len(losses_N)} losses at {len(compute_N)} budgets do not determine {2 + floor} numbers")
    reference = math.exp(np.log(compute_N).mean())
    relative_N = compute_N / reference

    def fitted(exponent: float) -> PowerLaw:
        return PowerLaw(*_line(relative_N**-exponent, losses_N, floor), exponent, reference)

    return fitted(_least(lambda exponent: float(np.square(fitted(exponent).at(compute_N) - losses_N).sum())))


def fit(compute_N: Floats, losses_RN: Floats, *, floor: bool) -> Fit:
    """A power law with standard errors from the spread over seeds, by leaving out one seed after the other (jackknife).

    For a mean that is the usual standard error. It knows the noise of seeds alone, not whether the law is right.
    """
    num_seeds = len(losses_RN)
    if num_seeds < 2:
        raise ValueError(f"{num_seeds} seed has no spread: give at least 2")
    law = power_law(compute_N, losses_RN.mean(0), floor=floor)
    without_R = [
        power_law(compute_N, np.delete(losses_RN, seed, axis=0).mean(0), floor=floor) for seed in range(num_seeds)
    ]
    table_RP = np.array([(one.floor, one.scale, one.exponent) for one in without_R])
    floor_error, scale_error, exponent_error = (table_RP.std(0) * math.sqrt(num_seeds - 1)).tolist()
    residual = math.sqrt(np.square(law.at(compute_N) - losses_RN.mean(0)).mean())
    return Fit(law, floor_error, scale_error, exponent_error, residual)


def _line(x_N: Floats, y_N: Floats, floor: bool) -> tuple[float, float]:
    """Floor and scale of the best line y = floor + scale * x."""
    if floor:
        centred_N = x_N - x_N.mean()
        scale = float(centred_N @ y_N / (centred_N @ centred_N))
        if (height := float(y_N.mean() - scale * x_N.mean())) >= 0:
            return height, scale
    return 0.0, float(x_N @ y_N / (x_N @ x_N))


def _least(error: Callable[[float], float]) -> float:
    """The exponent of least error: the best of a grid, and of ever finer ones around it."""
    low, high = map(math.log, EXPONENTS)
    best = low
    for _ in range(REFINEMENTS):
        grid = np.linspace(low, high, GRID)
        best = float(min(grid, key=lambda one: error(math.exp(one))))
        low, high = (max(best - (grid[1] - grid[0]), low), min(best + (grid[1] - grid[0]), high))
    return math.exp(best)
