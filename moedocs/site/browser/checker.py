"""Checks what a reader completed: their function is called with every input, and one sentence says what is wrong.

The browser's worker loads this file into Pyodide beside runner.py; CPython checks every exercise with it at build.
"""

from __future__ import annotations

import ast
import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

CHECK = "<check>"
RELATIVE, ABSOLUTE = 1e-5, 1e-8  # how far a right answer may be from the expected one
MOST_SHOWN = 12  # numbers of an answer that are shown whole; of a longer one, the first that differs

Names = dict[str, Any]
Numbers = NDArray[Any]
Case = tuple[str, tuple[Any, ...], Any]  # the input in words, the arguments, what is to come


def checking(exercise: str, source: str) -> Callable[[Names], dict[str, Any]]:
    """The check of a reader's source, to be given the names that it defined; an exception in it is the reader's."""
    parts = json.loads(exercise)

    def check(names: Names) -> dict[str, Any]:
        function, line = parts["function"], unfinished(source)
        if line:
            return _not_yet(f"line {line} still says `...`: write there what is missing.")
        if not callable(names.get(function)):
            return _not_yet(f"there is no function `{function}` in your code; its name must stay.")
        return _verdict(function, names[function], parts)

    return check


def unfinished(source: str) -> int | None:
    """The first line where `...` stands for something that is missing; as an index it is no gap."""
    for node in ast.walk(ast.parse(source)):
        value = getattr(node, "value", None) if isinstance(node, ast.stmt) else None
        if isinstance(value, ast.Constant) and value.value is Ellipsis:
            return int(node.lineno)  # type: ignore[attr-defined]
    return None


def cases(exercise: str) -> list[Case]:
    """The inputs of the check."""
    return list(_defined(json.loads(exercise)["check"], "cases")())


def _verdict(name: str, function: Callable[..., Any], parts: dict[str, Any]) -> dict[str, Any]:
    inputs: list[Case] = list(_defined(parts["check"], "cases")())
    answers: list[Any] = []
    first = ""
    for case in inputs:
        answers.append(_answer(function, case, tell=not first))
        first = first or _difference(name, case, answers[-1])
    right = sum(not _difference(name, case, answer) for case, answer in zip(inputs, answers, strict=True))
    if not first:
        return {"right": True, "says": f"{right} of {len(inputs)} inputs.", "because": "", "count": ""}
    counted = f"{right} of {len(inputs)} inputs {'is' if right == 1 else 'are'} right."
    return _not_yet(first, _known(answers, inputs, parts), counted)


def _not_yet(says: str, because: str = "", count: str = "") -> dict[str, Any]:
    return {"right": False, "says": says, "because": because, "count": count}


def _answer(function: Callable[..., Any], case: Case, tell: bool) -> Any:
    """What the function gives; the arguments are copies, so that no answer depends on another."""
    try:
        return function(*copy.deepcopy(case[1]))
    except Exception as error:
        if not tell:
            return error
        error.add_note(f"with {case[0]}")
        raise


def _known(answers: list[Any], inputs: list[Case], parts: dict[str, Any]) -> str:
    """What is to be said where the answers are those of a mistake that the exercise knows."""
    for wrong in parts["wrong"]:
        function = _defined(wrong["code"], parts["function"])
        theirs = [_answer(function, case, tell=False) for case in inputs]
        if all(_same(ours, other) for ours, other in zip(answers, theirs, strict=True)):
            return str(wrong["says"])
    return ""


def _defined(code: str, name: str) -> Any:
    names: Names = {"__name__": "__main__"}
    exec(compile(code, CHECK, "exec"), names)
    return names[name]


def _difference(name: str, case: Case, answer: Any) -> str:
    """How an answer differs from what is expected, in one sentence; empty where it does not."""
    words, _, expected = case
    if answer is None:
        return f"with {words}, `{name}` gives nothing back: is a `return` missing?"
    if _same(answer, expected):
        return ""
    came, wanted = _numbers(answer), np.asarray(expected)
    if came is None:
        return f"with {words}, `{name}` gives {_kind(answer)}; right is {_shown(wanted)}."
    if came.shape != wanted.shape:
        return f"with {words}, `{name}` gives {_form(came)}; right is {_form(wanted)}."
    if wanted.size <= MOST_SHOWN:
        return f"with {words}, `{name}` gives {_shown(came, wanted)}; right is {_shown(wanted, came)}."
    place = tuple(int(index) for index in np.argwhere(~_near(came, wanted))[0])
    at = f"at {list(place)}"
    return f"with {words}, `{name}` gives {_shown(came[place], wanted[place])} {at}; right is {_shown(wanted[place])}."


def _same(answer: Any, other: Any) -> bool:
    ours, theirs = _numbers(answer), _numbers(other)
    if ours is None or theirs is None:
        return type(answer) is type(other)
    return ours.shape == theirs.shape and bool(_near(ours, theirs).all())


def _near(ours: Numbers, theirs: Numbers) -> Numbers:
    near: Numbers = np.isclose(ours.astype(float), theirs.astype(float), RELATIVE, ABSOLUTE, equal_nan=True)
    return near


def _numbers(answer: Any) -> Numbers | None:
    """The answer as real numbers or truth values; None where it is something else."""
    try:
        numbers = np.asarray(answer)
    except ValueError:  # rows of different lengths
        return None
    return numbers if numbers.dtype.kind in "biuf" else None


def _kind(answer: Any) -> str:
    words = {"str": "a text", "function": "a function", "tuple": "a tuple", "list": "a list", "dict": "a dict"}
    return words.get(type(answer).__name__, f"a {type(answer).__name__}")


def _form(numbers: Numbers) -> str:
    return "one number" if numbers.ndim == 0 else f"an array of shape {numbers.shape}"


def _shown(numbers: Any, beside: Any = None) -> str:
    """A number or a short array; with more digits where the two would look alike."""
    digits = next((n for n in (4, 8) if beside is None or _text(numbers, n) != _text(beside, n)), 12)
    return _text(numbers, digits)


def _text(numbers: Any, digits: int) -> str:
    """Truth values in a table are shown as 1 and 0."""
    if np.ndim(numbers):
        return f"[{', '.join(_text(number * 1, digits) for number in numbers)}]"
    number = np.asarray(numbers).item()
    return f"{number:.{digits}g}" if isinstance(number, float) else str(number)
