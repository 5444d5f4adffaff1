"""Full experts. A router without any preference still drops tokens when every expert has just enough slots."""

from typing import Any

import altair as alt

from moedocs.charts import HATCH, Chart, Size, colour
from moedocs.cost import Quantity
from moedocs.lab import crowding, full_experts
from moedocs.lab.crowding import BY_SKEW, EIGHTS, QUARTERS, ROUNDINGS, SEQUENCES, TOKENS, TOP_K, TRAINED, UP
from moedocs.lab.full_experts import DRAWS, FACTORS, GROUPS, at, dropped
from moedocs.site.figure import Rows, Words

title = "Full experts"
badge = "simulation"
seed = crowding.SEED
records = ("balance",)
sources = ("switch-2021", "gshard-2020")

POLICIES = {"order": "in order", "probability": "by weight", "random": "at random"}
PLACE = "by place in the"
OPENS_WITH: dict[str, Any] = {
    "num_experts": 8,
    "top_k": 2,
    "num_tokens": 64,
    "capacity_factor": 1.0,
    "router": BY_SKEW,
    "skew": 0.0,
    "rounding": UP,
    "group": "batch",
    "policy": "order",
    "draw": 1,
}


def data() -> Rows:
    """The table of `moedocs.lab.full_experts`."""
    return full_experts.rows()


CASES: dict[str, dict[str, Any]] = {
    "fair": {},
    "fair-125": {"capacity_factor": 1.25},
    "fair-2": {"capacity_factor": 2.0},
    "fair-1024": {"num_tokens": 1024},
    "sequences": {"group": "sequence"},
    "by-weight": {"policy": "probability"},
    "at-random": {"policy": "random"},
    "skewed": {"skew": 1.0},
    "skewed-125": {"skew": 1.0, "capacity_factor": 1.25},
    "skewed-2": {"skew": 1.0, "capacity_factor": 2.0},
    "up": {"capacity_factor": 1.1},
    "down": {"capacity_factor": 1.1, "rounding": "down"},
    "eights": {"capacity_factor": 1.1, "rounding": EIGHTS},
    **{name.replace(" ", "-"): {"router": name, "skew": None, "num_tokens": 1024} for name in TRAINED},
    **{
        f"{name.replace(' ', '-')}-125": {"router": name, "skew": None, "num_tokens": 1024, "capacity_factor": 1.25}
        for name in TRAINED
    },
}


def facts(rows: Rows) -> dict[str, Quantity]:
    """Numbers that the page quotes: shares dropped, slots, and who is dropped."""
    found = {}
    for name, settings in CASES.items():
        loads, expected = at(rows, OPENS_WITH | settings)
        words = f"{settings or 'as the figure opens'}"
        share = dropped(loads, expected) / sum(row["load"] for row in loads)
        found[name] = Quantity(expected["expected_share"], "share", f"exact expectation, {words}")
        found[f"{name}-simulated"] = Quantity(share, "share", f"simulation, seed {seed}")
        found[f"{name}-slots"] = Quantity(expected["capacity"], "count", f"slots of an expert and group, {words}")
        for which in ("place_1", "place_4", "weight_1", "weight_4"):
            found[f"{name}-{which.replace('_', '-')}"] = Quantity(expected[which], "share", f"of a quarter, {words}")
    for name, arm in TRAINED.items():
        busiest = max(crowding.most_lopsided(arm).share_E)
        found[f"{name.replace(' ', '-')}-busiest"] = Quantity(busiest, "share", f"largest share at the end, {arm}")
    return found


def table(rows: Rows) -> Rows:
    """The loads that the figure shows as it opens."""
    return [{key: row[key] for key in ("expert", "load", "expected_load")} for row in at(rows, OPENS_WITH)[0]]


def words(rows: Rows) -> Words:
    loads, expected = at(rows, OPENS_WITH)
    n, k, t = (OPENS_WITH[key] for key in ("num_experts", "top_k", "num_tokens"))
    numbers, share = [row["load"] for row in loads], dropped(loads, expected) / (t * k)
    return Words(
        f"A fair router, {t} tokens, {n} experts, {k} each: {expected['capacity']} slots per expert are enough on "
        f"average, and yet in this draw {share:.1%} of the choices find their expert full (hatched). Exactly expected: "
        f"{expected['expected_share']:.1%}. How many are dropped does not depend on the policy; who is, does (below). "
        f"Chance stands in for a router here, also where its preferences are those of a trained one: the choices of "
        f"real tokens hang together.",
        f"A bar for each of {n} experts: how many of {t} tokens chose it, {k} choices a token, under a router without "
        f"preference (seed {seed}). Loads run from {min(numbers)} to {max(numbers)}; a line marks the capacity of "
        f"{expected['capacity']} slots. What stands above it is hatched: those choices are dropped, and their tokens "
        f"go on without that expert's answer. Dashed outlines are empty slots; a short mark shows the expected load. "
        f"Below, two small charts: which quarter of the batch the dropped choices come from, and which quarter of the "
        f"router weights, over many draws. First come, first served takes most of them from the last quarter "
        f"of the batch ({expected['place_4']:.0%} of its choices). Controls change experts, top-k, tokens, capacity "
        f"factor, router, skew, rounding, what shares the slots, the drop policy and the draw. The exact expectation "
        f"takes an expert's load as binomial, as it is for independent tokens.",
    )


def chart(rows: Rows, size: Size) -> Chart:
    return alt.vconcat(
        bars(size), who(size), spacing=26, data=alt.NamedData("table"), params=[one.param for one in params()]
    )


def params() -> list[alt.Parameter]:
    def choice(name: str, label: str, options: Any, labels: Any = alt.Undefined) -> alt.Parameter:
        bind = alt.binding_select(options=list(options), name=label, labels=labels)
        return alt.param(name=name, value=OPENS_WITH[name], bind=bind)

    return [
        choice("num_experts", "Experts N", crowding.EXPERTS),
        choice("top_k", "Top-k", TOP_K),
        choice("num_tokens", "Tokens", TOKENS),
        choice("capacity_factor", "Capacity factor", FACTORS),
        choice("skew", "Skew", crowding.SKEWS),
        choice("draw", "Draw", range(1, 1 + DRAWS)),
        choice("router", "Router", (BY_SKEW, *TRAINED)),
        choice("policy", "Who is served", POLICIES, list(POLICIES.values())),
        choice("group", "Slots are for", GROUPS, ["the whole batch", "each of 4 sequences"]),
        choice("rounding", "Rounding", ROUNDINGS),
    ]


def shown() -> Chart:
    """The rows of the setting, one for each expert and group of tokens; `capacity` is the reader's own where given."""
    ours = f"datum.num_experts == num_experts && datum.skew == skew || datum.router != '{BY_SKEW}'"
    own = "isValid(datum.expert)"
    factor = (
        f"capacity_factor * datum.num_tokens * datum.top_k / datum.num_experts / (group == 'batch' ? 1 : {SEQUENCES})"
    )
    up = "ceil({} - 1e-9)"
    rounded = f"rounding == '{UP}' ? {up.format('datum.even')} : rounding == '{EIGHTS}' ? "
    rounded += f"8 * {up.format('datum.even / 8')} : floor(datum.even + 1e-9)"
    parts = f"[{', '.join(f'datum.load_{part + 1}' for part in range(SEQUENCES))}]"
    split = "group == 'sequence' && isValid(datum.load_1)"
    expectation = "isValid(datum.place_1) && datum.group == group && datum.policy == policy"
    expectation += " && datum.capacity == datum.slots"
    return (
        alt.Chart()
        .transform_filter(
            f"datum.router == router && ({ours}) && datum.top_k == top_k && datum.num_tokens == num_tokens"
        )
        .transform_calculate(even=factor)
        .transform_calculate(slots=f"{own} && isValid(datum.capacity) ? datum.capacity : {rounded}")
        .transform_filter(f"{own} ? !isValid(datum.draw) || datum.draw == draw : {expectation}")
        .transform_calculate(
            parts=f"!{own} ? [0] : {split} ? {parts} : [datum.load]", sequence=f"{split} ? [1, 2, 3, 4] : [1]"
        )
        .transform_flatten(["parts", "sequence"], as_=["tokens", "sequence"])
        .transform_calculate(
            room=f"{own} ? datum.slots : 0",
            dropped=f"{own} ? max(0, datum.tokens - datum.slots) : 0",
            kept="min(datum.tokens, datum.slots)",
            expected=f"datum.expected_load / ({split} ? {SEQUENCES} : 1)",
        )
    )


def bars(size: Size) -> Chart:
    """The loads, each up to its capacity and beyond."""
    base = shown().transform_filter("isValid(datum.expert)")
    x = alt.X("expert:O", title="expert", axis=alt.Axis(labelAngle=0, ticks=False), scale=alt.Scale(paddingInner=0.3))
    beside = alt.XOffset("sequence:O", scale=alt.Scale(paddingInner=0.15))
    y = alt.Y("kept:Q", title="tokens", axis=alt.Axis(tickCount=5))
    tips = [("expert:O", "expert"), ("tokens:Q", "chosen by"), ("kept:Q", "kept"), ("dropped:Q", "dropped")]
    tips += [("slots:Q", "slots"), ("expected:Q", "expected load")]
    slots = base.mark_bar(filled=False, stroke=colour("idle"), strokeDash=[3, 3]).encode(y="slots:Q")
    kept = base.mark_bar(color=colour("active")).encode(y=y)
    over = base.mark_bar(fill=HATCH, stroke=colour("dropped"), strokeWidth=1)
    seen = alt.condition("datum.dropped > 0", alt.value(1), alt.value(0))
    expected = base.transform_filter("datum.sequence == 1 || group == 'sequence'").mark_tick(
        color=colour("ink"), thickness=3, stroke=colour("paper"), strokeWidth=1, width=alt.RelativeBandSize(0.6)
    )
    line = base.transform_aggregate(slots="max(slots)").mark_rule(color=colour("ink"), strokeWidth=1.5)
    hover = base.mark_bar(opacity=0).encode(
        y="tokens:Q", tooltip=[alt.Tooltip(field, title=name) for field, name in tips]
    )
    layers = {
        "part_empty": slots,
        "part_load_part_kept": kept,
        "part_load_part_dropped": over.encode(y="kept:Q", y2="tokens:Q", opacity=seen),
        "part_expected": expected.encode(y="expected:Q"),
        "hover": hover,
    }
    return alt.layer(
        *(layer.encode(x=x, xOffset=beside).properties(name=name) for name, layer in layers.items()),
        line.encode(y="slots:Q").properties(name="part_capacity"),
        readout(size),
    ).properties(width=size.width - (58 if size.narrow else 62), height=240)


def readout(size: Size) -> Chart:
    """The result in words, above the bars; the spread is left out where the table has none, as in a reader's own."""
    share = "format(datum.{}, '.1%')".format
    each = "datum.slots + (group == 'batch' ? ' slots an expert' : ' slots an expert and sequence')"
    lines = [
        f"'Dropped ' + {share('share')} + ' in this draw, exactly expected ' + {share('expected_share')}",
        f"'nine draws of ten: ' + {share('low')} + ' to ' + {share('high')}",
        f"{each} + ', ' + {share('empty')} + ' of them empty'",
    ]
    if size.narrow:
        lines = [line.replace(" in this draw", "").replace(" and ", ", ").replace(" of them", "") for line in lines]
    short = f"[{lines[0]}, {lines[2]}]"
    if not size.narrow:
        lines = [f"{lines[0]} + ' · ' + {lines[1]}", lines[2]]
    of = f"{ {name: note(name, size) for name in TRAINED} }[datum.router]"
    whole, noted = f"[{', '.join(lines)}]", f"[{', '.join((*lines, of))}]"
    said = f"!isValid(datum.low) ? {short} : datum.router == '{BY_SKEW}' ? {whole} : {noted}"
    return (
        shown()
        .transform_aggregate(
            load="sum(tokens)",
            dropped="sum(dropped)",
            kept="sum(kept)",
            room="sum(room)",
            slots="max(slots)",
            expected_share="max(expected_share)",
            low="max(low_share)",
            high="max(high_share)",
            groupby=["router"],
        )
        .transform_calculate(share="datum.dropped / datum.load", empty="1 - datum.kept / datum.room")
        .transform_calculate(words=said)
        .mark_text(align="left", baseline="top", fontSize=13, fontWeight=600, lineHeight=17)
        .encode(text="words:N", x=alt.value(-36 if size.narrow else 0), y=alt.value(-76 if size.narrow else -60))
        .properties(name="readout")
    )


def note(name: str, size: Size) -> str:
    """Which trained router lends its preferences."""
    which = crowding.most_lopsided(TRAINED[name])
    return f"{'trained' if size.narrow else name}: layer {which.layer}, seed {which.seed}, {len(which.share_E)} experts"


def who(size: Size) -> Chart:
    """Of which quarter of the batch, and of the router weights, how much is dropped."""
    width = (size.width - (108 if size.narrow else 124)) // 2
    place = "by place" if size.narrow else alt.expr(f"group == 'batch' ? '{PLACE} batch' : '{PLACE} sequence'")
    weight = "by weight" if size.narrow else "by router weight"
    heading = alt.Title(
        "Who is dropped: of each quarter, mean of many draws" if not size.narrow else "Dropped of each quarter",
        fontSize=13,
        anchor="start",
        offset=6,
    )
    return (
        alt.hconcat(
            quarters("place", place, ("first", "", "", "last"), width),
            quarters(
                "weight", weight, ("low", "", "", "high") if size.narrow else ("lowest", "", "", "highest"), width
            ),
            spacing=16,
        )
        .resolve_scale(y="shared")
        .properties(title=heading)
    )


def quarters(name: str, title: Any, ends: tuple[str, ...], width: int) -> Chart:
    columns = [f"{name}_{at + 1}" for at in range(QUARTERS)]
    labels = f"{dict(zip(columns, ends, strict=True))}[datum.value]"
    base = (
        shown()
        .transform_filter("isValid(datum.place_1)")
        .transform_aggregate(**{column: f"max({column})" for column in columns}, expected_share="max(expected_share)")
        .transform_fold(columns, as_=["quarter", "share"])
    )
    axis = alt.Axis(labelExpr=labels, labelAngle=0, ticks=False, labelOverlap=False)
    x = alt.X("quarter:N", title=None, sort=columns, axis=axis)
    y = alt.Y("share:Q", title=None, axis=alt.Axis(format="%", tickCount=3), scale=alt.Scale(domainMin=0))
    tips = [alt.Tooltip("share:Q", title="of these dropped", format=".0%")]
    return alt.layer(
        base.mark_bar(fill=HATCH, stroke=colour("dropped"), strokeWidth=1).encode(x=x, y=y, tooltip=tips),
        base.mark_rule(color=colour("ink"), strokeWidth=1).encode(y="expected_share:Q"),
    ).properties(
        width=width, height=80, title=alt.Title(title, fontSize=12, fontWeight=500), name=f"part_dropped_by_{name}"
    )
