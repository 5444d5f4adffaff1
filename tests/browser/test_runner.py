"""The Python around a reader's cell, here under CPython: caps, errors, rows."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from moedocs.site.browser import runner


class Page:
    """Stands where the page's thread stands and keeps what it is sent."""

    def __init__(self) -> None:
        self.text, self.sent, self.left_out = "", 0, (0, 0)

    def __call__(self, text: str, lines: int, characters: int) -> None:
        self.text, self.sent, self.left_out = self.text + text, self.sent + 1, (lines, characters)


def outcome(source: str, namespace: dict[str, Any] | None = None, page: Page | None = None) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(runner.run(source, {} if namespace is None else namespace, page or Page()))
    return result


def test_prints_arrive_whole_and_in_order() -> None:
    page = Page()
    outcome("print('a', end='')\nprint('b')\nimport sys\nprint('c', file=sys.stderr)", page=page)
    assert page.text == "ab\nc\n"
    assert page.left_out == (0, 0)


def test_no_more_than_the_cap_is_passed_on_and_the_rest_is_counted() -> None:
    page = Page()
    outcome("for i in range(1000): print(i)", page=page)
    assert page.text.splitlines() == [str(i) for i in range(200)]
    assert page.left_out == (800, sum(len(str(i)) + 1 for i in range(200, 1000)))


def test_one_endless_line_is_cut_too() -> None:
    page = Page()
    outcome("print('x' * 50_000, end='')", page=page)
    assert len(page.text) == 20_000
    assert page.left_out == (0, 30_000)


def test_prints_are_sent_a_few_times_a_second() -> None:
    page, seconds = Page(), iter(range(10**6))
    printer = runner.Printer(page, clock=lambda: next(seconds) / 1000)
    for _ in range(5000):
        printer.write("line\n")
    assert page.sent <= 110  # 5 seconds and a bit on that clock, ten a second


def test_the_last_expression_is_the_value_and_none_is_no_value() -> None:
    assert outcome("x = 1\nx + 1")["value"] == "2"
    assert outcome("None")["value"] is None
    assert outcome("x = 1")["value"] is None
    assert outcome("")["value"] is None


def test_names_stay_from_run_to_run() -> None:
    namespace: dict[str, Any] = {}
    outcome("def double(x): return 2 * x", namespace)
    assert outcome("double(4)", namespace)["value"] == "8"


@pytest.mark.parametrize(
    ("source", "line", "code", "reason"),
    [
        ("x = [1]\n\nx[3]", 3, "x[3]", "IndexError: list index out of range"),
        ("def f():\n    return 1 / 0\nf()", 2, "return 1 / 0", "ZeroDivisionError: division by zero"),
        ("import json\njson.loads('{')", 2, "json.loads('{')", "json.decoder.JSONDecodeError: "),
        ("x = 1\nif x = 2: pass", 2, "if x = 2: pass", "SyntaxError: invalid syntax"),
        ("import nowhere_to_be_found", 1, "import nowhere_to_be_found", "ModuleNotFoundError: there is no 'nowhere"),
        ("raise SystemExit(3)", 1, "raise SystemExit(3)", "SystemExit: 3"),
        ("def f(): f()\nf()", 1, "def f(): f()", "RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_an_error_is_the_readers_line_and_the_reason(source: str, line: int, code: str, reason: str) -> None:
    error = outcome(source)["error"]
    assert (error["line"], error["code"]) == (line, code)
    assert error["reason"].startswith(reason)


def test_records_and_columns_give_the_same_rows() -> None:
    columns = {"expert": np.arange(3), "load": [1.5, 2.0, float("nan")], "full": np.array([True, False, True])}
    records = [{"expert": e, "load": x, "full": f} for e, x, f in zip(*columns.values(), strict=True)]
    expected = [
        {"expert": 0, "load": 1.5, "full": True},
        {"expert": 1, "load": 2.0, "full": False},
        {"expert": 2, "load": None, "full": True},
    ]
    assert runner.rows_of(columns) == runner.rows_of(records) == expected


def test_the_table_is_handed_on_only_by_the_run_that_assigns_it() -> None:
    namespace: dict[str, Any] = {}
    assert outcome("table = [{'a': 1}]", namespace)["table"] == [{"a": 1}]
    assert outcome("len(table)", namespace)["table"] is None
    assert outcome("table += [{'a': 2}]", namespace)["table"] == [{"a": 1}, {"a": 2}]
    assert outcome("table = 1 / 0", namespace)["table"] is None


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("[]", "no rows"),
        ("{'a': [1], 'b': [1, 2]}", "a 1, b 2"),
        ("[1, 2]", "list of dicts"),
        ("3", "not iterable"),
        ("[{'a': [1, 2]}]", "column 'a' holds a list"),
        ("{'a': range(30_000)}", "30,000 rows"),
    ],
)
def test_a_table_that_no_chart_can_take_is_refused_with_the_reason(table: str, reason: str) -> None:
    result = outcome(f"table = {table}")
    assert result["table"] is None
    assert reason in result["refused"]
