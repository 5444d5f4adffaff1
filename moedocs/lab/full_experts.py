"""The table of the figure of full experts: loads as drawn, and what is to be expected of them.

Shapes: R draws · S sequences · X groups that share slots · E num_experts
"""

from itertools import product
from typing import Any

from moedocs.lab import crowding
from moedocs.lab.crowding import QUARTERS, ROUNDINGS, SEQUENCES, TOKENS, TOP_K, Router

FACTORS, DRAWS = (1.0, 1.1, 1.25, 1.5, 2.0), 3  # draws that can be looked at; the spread is of more
GROUPS = {"batch": 1, "sequence": SEQUENCES}
Rows = list[dict[str, Any]]
SETTING = ("router", "num_experts", "skew", "top_k", "num_tokens")


def rows() -> Rows:
    """One per setting, draw and expert: its load; one per setting, group, capacity and policy: what to expect."""
    settings = list(product(crowding.routers(), TOP_K, TOKENS))
    drawn = [row for setting in settings for row in drawn_loads(*setting)]
    expected = [row for setting in settings for group in GROUPS for row in expectations(*setting, group)]
    columns = dict.fromkeys((*drawn[0], *expected[0]))
    return [columns | row for row in (*drawn, *expected)]


def drawn_loads(router: Router, top_k: int, num_tokens: int) -> Rows:
    load_RSE, chance_E = router.load_RSE(num_tokens, top_k), router.chance_E(top_k)
    return [
        {**router.settings, "top_k": top_k, "num_tokens": num_tokens}
        | {"draw": draw + 1, "expert": expert + 1, "load": int(load_RSE[draw, :, expert].sum())}
        | {f"load_{part + 1}": int(load_RSE[draw, part, expert]) for part in range(SEQUENCES)}
        | {"expected_load": round(float(num_tokens * chance_E[expert]), 2)}
        for expert in range(router.num_experts)
        for draw in range(DRAWS)
    ]


def expectations(router: Router, top_k: int, num_tokens: int, group: str) -> Rows:
    """The share dropped, exactly, and between which shares nine of ten draws lie; and who is dropped, simulated.

    In the order of the batch, a choice at a later place is dropped more often. By weight or at random its place says
    nothing; and to draw tokens at random does with the weights what a batch in no particular order does.
    """
    tokens, load_RSE = num_tokens // GROUPS[group], router.load_RSE(num_tokens, top_k)
    load_RXE = load_RSE.sum(1, keepdims=True) if group == "batch" else load_RSE
    capacities = sorted(
        {crowding.slots(tokens, router.num_experts, top_k, *one) for one in product(FACTORS, ROUNDINGS)}
    )
    routing = router.routing(num_tokens, top_k)
    late, first = crowding.dropped_by_quarter(routing, capacities, "order", tokens)
    _, surest = crowding.dropped_by_quarter(routing, capacities, "probability", tokens)
    rows: Rows = []
    for index, capacity in enumerate(capacities):
        share = crowding.expected_share(router, tokens, top_k, capacity)
        low, high = crowding.spread(load_RXE, capacity)
        even = [share] * QUARTERS  # tokens are alike
        shared = {**router.settings, "top_k": top_k, "num_tokens": num_tokens, "group": group, "capacity": capacity}
        shared |= {"expected_share": round(share, 5), "low_share": round(low, 3), "high_share": round(high, 3)}
        quarters = {
            "order": (late[index], first[index]),
            "probability": (even, surest[index]),
            "random": (even, first[index]),
        }
        rows += [
            shared
            | {"policy": policy}
            | {f"place_{at + 1}": round(one, 2) for at, one in enumerate(by_place)}
            | {f"weight_{at + 1}": round(one, 2) for at, one in enumerate(by_weight)}
            for policy, (by_place, by_weight) in quarters.items()
        ]
    return rows


def at(rows: Rows, wanted: dict[str, Any]) -> tuple[Rows, dict[str, Any]]:
    """The loads that are drawn at a setting, and what is to be expected of them."""
    shown = [row for row in rows if all(row[key] == wanted[key] for key in SETTING)]
    tokens = wanted["num_tokens"] // GROUPS[wanted["group"]]
    capacity = crowding.slots(
        tokens, wanted["num_experts"], wanted["top_k"], wanted["capacity_factor"], wanted["rounding"]
    )
    chosen = {"group": wanted["group"], "policy": wanted["policy"], "capacity": capacity}
    (expected,) = [row for row in shown if chosen.items() <= row.items()]
    return [row for row in shown if row["draw"] == wanted["draw"]], expected


def dropped(loads: Rows, expected: dict[str, Any]) -> int:
    """Assignments over capacity in a draw."""
    parts = ["load"] if expected["group"] == "batch" else [f"load_{part + 1}" for part in range(SEQUENCES)]
    return sum(max(0, row[part] - expected["capacity"]) for row in loads for part in parts)
