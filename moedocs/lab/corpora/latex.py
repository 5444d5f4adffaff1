"""Mathematics set in LaTeX: formulas that sympy builds and prints, by count and seed, one on a line.

Only `Random.random` draws, whose sequence Python promises to keep, and no set or dictionary orders anything.
"""

from collections.abc import Callable
from random import Random
from typing import Any

COUNT = 3_600
HELD_OUT = 450
SHORTEST = 12  # a bare symbol is no formula
DEPTH = 3
LETTERS = "abckmnpqrstuvwxyz"
GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "theta", "lambda", "mu", "nu", "rho", "sigma", "tau", "phi", "psi"),
    *("omega", "Gamma", "Delta", "Omega"),
)
INDEXED = ("x_1", "x_2", "y_0", "a_n", "b_k", "theta_i", "sigma_0")
FUNCTIONS = (
    *("sin", "cos", "tan", "exp", "log", "sinh", "tanh", "atan", "gamma", "zeta", "erf", "Abs", "floor", "conjugate"),
    *("factorial", "sqrt", "besselj", "binomial"),
)


def formulas() -> tuple[bytes, bytes]:
    """Training and validation text; no formula of validation occurs in training, not even inside a longer one."""
    training = "".join(f"{line}\n" for line in _lines(Random(0), COUNT))
    held_out = [line for line in _lines(Random(1), HELD_OUT) if line not in training]
    return training.encode(), "".join(f"{line}\n" for line in held_out).encode()


def _lines(chance: Random, count: int) -> list[str]:
    """So many different formulas."""
    from sympy import latex, nan, oo, zoo

    found: dict[str, None] = {}
    while len(found) < count:
        formula = _pick(chance, FORMS)(chance)
        line = latex(formula)
        if len(line) >= SHORTEST and not formula.has(nan, zoo, -oo):
            found[line] = None
    return list(found)


def _pick(chance: Random, items: Any) -> Any:
    return items[int(chance.random() * len(items))]


def _symbol(chance: Random) -> Any:
    from sympy import Symbol

    return Symbol(_pick(chance, _pick(chance, (LETTERS, LETTERS, GREEK, INDEXED))))


def _atom(chance: Random) -> Any:
    from sympy import E, Function, Integer, Rational, pi

    makers: tuple[Callable[[], Any], ...] = (
        lambda: Integer(1 + int(chance.random() * 12)),
        lambda: Rational(1 + int(chance.random() * 7), 2 + int(chance.random() * 7)),
        lambda: _pick(chance, (pi, E)),
        lambda: Function(_pick(chance, "fgh"))(_symbol(chance)),
        *(lambda: _symbol(chance),) * 5,
    )
    return _pick(chance, makers)()


def _term(chance: Random, depth: int = DEPTH) -> Any:
    """A random expression: sums, products, fractions, powers and functions of smaller ones."""
    from sympy import Add, Mul, Pow

    if depth == 0 or chance.random() < 0.15:
        return _atom(chance)
    parts = [_term(chance, depth - 1) for _ in range(2 + int(chance.random() * 2))]
    shape = _pick(chance, ("sum", "sum", "product", "fraction", "power", "function", "function"))
    if shape == "function":
        return _function(chance, parts)
    if shape == "fraction":
        return Mul(parts[0], Pow(Add(*parts[1:]), -1))
    if shape == "power":
        return Pow(parts[0], _atom(chance))
    return Add(*parts) if shape == "sum" else Mul(*parts)


def _function(chance: Random, parts: list[Any]) -> Any:
    import sympy

    name = _pick(chance, FUNCTIONS)
    taken = 2 if name in ("besselj", "binomial") else 1
    if name == "sqrt":
        return sympy.sqrt(parts[0], evaluate=False)
    return getattr(sympy, name)(*parts[:taken], evaluate=False)


def _range(chance: Random) -> tuple[Any, Any, Any]:
    from sympy import Integer, Symbol, oo

    return _symbol(chance), _pick(chance, (Integer(0), Integer(1))), _pick(chance, (oo, oo, Symbol("N")))


def _integral(chance: Random) -> Any:
    from sympy import Integral

    ranges = [_pick(chance, (_range(chance), (_symbol(chance),))) for _ in range(1 + int(chance.random() * 2))]
    return Integral(_term(chance), *ranges)


def _series(chance: Random) -> Any:
    from sympy import Product, Sum

    return _pick(chance, (Sum, Sum, Product))(_term(chance), _range(chance))


def _limit(chance: Random) -> Any:
    from sympy import Integer, Limit, oo

    return Limit(_term(chance), _symbol(chance), _pick(chance, (Integer(0), Integer(1), oo)), _pick(chance, "+-"))


def _derivative(chance: Random) -> Any:
    from sympy import Derivative, Function

    variable = _symbol(chance)
    function = Function(_pick(chance, ("f", "g", "psi", "Phi")))(variable, _symbol(chance))
    return Derivative(_term(chance, 2) * function, (variable, 1 + int(chance.random() * 3)))


def _matrix(chance: Random) -> Any:
    from sympy import ImmutableMatrix

    rows, columns = 2 + int(chance.random() * 2), 1 + int(chance.random() * 3)
    return ImmutableMatrix(rows, columns, [_term(chance, 1) for _ in range(rows * columns)])


def _cases(chance: Random) -> Any:
    from sympy import Piecewise

    return Piecewise((_term(chance, 2), _symbol(chance) < _atom(chance)), (_term(chance, 2), True), evaluate=False)


def _relation(chance: Random) -> Any:
    from sympy import Eq, Ge, Lt, Ne

    left = _pick(chance, (_term, _integral, _series, _limit, _derivative))(chance)
    return _pick(chance, (Eq, Eq, Eq, Lt, Ge, Ne))(left, _term(chance), evaluate=False)


FORMS = (_term, _integral, _series, _limit, _derivative, _matrix, _cases, _relation, _relation)
