"""Slack. The empty slots that a larger capacity factor costs, and the dropped choices that it saves."""

from itertools import product
from typing import Any

import altair as alt

from moedocs.charts import Chart, Size, colour, over
from moedocs.cost import Quantity
from moedocs.lab import crowding
from moedocs.lab.crowding import BY_SKEW, TOKENS, TOP_K, TRAINED, Router
from moedocs.site.figure import Rows, Words

title = "What slack costs, and what it saves"
badge = "simulation"
seed = crowding.SEED
records = ("balance",)
sources = ("switch-2021",)

FACTORS = tuple(eighth / 8 for eighth in range(4, 33))
TESTED = (1.0, 1.25, 2.0)  # the capacity factors of Switch's Table 1
OPENS_WITH: dict[str, Any] = {
    "num_experts": 8,
    "top_k": 2,
    "num_tokens": 256,
    "capacity_factor": 1.25,
    "skew": 1.0,
    "router": BY_SKEW,
}
SETTING = ("router", "num_experts", "skew", "top_k", "num_tokens")
FEW = 0.01


def data() -> Rows:
    """One row per setting and capacity factor: shares dropped and empty, exactly, and nine draws of ten between."""
    return [row for setting in product(crowding.routers(), TOP_K, TOKENS) for row in one_setting(*setting)]


def one_setting(router: Router, top_k: int, num_tokens: int) -> Rows:
    load_RXE = router.load_RSE(num_tokens, top_k).sum(1, keepdims=True)
    settings = {**router.settings, "top_k": top_k, "num_tokens": num_tokens}
    rows: Rows = []
    for factor in FACTORS:
        capacity = crowding.slots(num_tokens, router.num_experts, top_k, factor)
        share = crowding.expected_share(router, num_tokens, top_k, capacity)
        low, high = crowding.spread(load_RXE, capacity)
        empty = 1 - (1 - share) * num_tokens * top_k / (router.num_experts * capacity)
        rows.append(
            {**settings, "capacity_factor": factor, "capacity": capacity}
            | {"dropped": round(share, 5), "empty": round(empty, 5), "low": round(low, 4), "high": round(high, 4)}
        )
    return rows


def at(rows: Rows, **settings: Any) -> Rows:
    """The rows of a setting, as the figure opens unless said otherwise."""
    wanted = OPENS_WITH | settings
    return [row for row in rows if all(row[key] == wanted[key] for key in SETTING)]


def enough(rows: Rows) -> dict[str, Any]:
    """The row of the least factor at which hardly anything is dropped."""
    return next(row for row in rows if row["dropped"] < FEW)


CASES: dict[str, dict[str, Any]] = {
    "fair": {"skew": 0.0},
    "fair-64": {"skew": 0.0, "num_tokens": 64},
    "mild": {"skew": 0.5},
    "skewed": {},
    **{name.replace(" ", "-"): {"router": name, "skew": None} for name in TRAINED},
}


def facts(rows: Rows) -> dict[str, Quantity]:
    """What the page quotes: at factor 1.25, and where less than one choice in a hundred is dropped."""
    found = {}
    for name, settings in CASES.items():
        shown, words = at(rows, **settings), f"{settings or 'as the figure opens'}"
        (here,) = [row for row in shown if row["capacity_factor"] == OPENS_WITH["capacity_factor"]]
        least = enough(shown)
        found[f"{name}-dropped"] = Quantity(here["dropped"], "share", f"exact expectation at factor 1.25, {words}")
        found[f"{name}-empty"] = Quantity(here["empty"], "share", f"exact expectation at factor 1.25, {words}")
        found[f"{name}-enough"] = Quantity(
            least["capacity_factor"], "ratio", f"least with < {FEW:.0%} dropped, {words}"
        )
        found[f"{name}-enough-empty"] = Quantity(least["empty"], "share", f"of the slots then, {words}")
    return found


def table(rows: Rows) -> Rows:
    """What the figure shows as it opens."""
    columns = ("capacity_factor", "capacity", "dropped", "empty", "low", "high")
    return [{key: row[key] for key in columns} for row in at(rows)]


def words(rows: Rows) -> Words:
    n, k, t, factor = (OPENS_WITH[key] for key in ("num_experts", "top_k", "num_tokens", "capacity_factor"))
    (here,) = [row for row in at(rows) if row["capacity_factor"] == factor]
    fair, skewed = enough(at(rows, skew=0.0)), enough(at(rows))
    return Words(
        f"With a fair router and {t} tokens (thin line), factor {fair['capacity_factor']:g} drops less than one choice "
        f"in a hundred. Where some experts are liked more (skew 1), that takes {skewed['capacity_factor']:g}, and "
        f"{skewed['empty']:.0%} of all slots are then empty. No factor avoids both: at factor c at least 1 − 1/c of "
        f"the slots stay empty (dotted), however even the load. Triangles: the factors in Switch's Table 1. Not shown: "
        f"what a dropped choice costs the model's loss.",
        f"Two curves over the capacity factor, from {FACTORS[0]:g} to {FACTORS[-1]:g}, for {n} experts, top-{k}, {t} "
        f"tokens and a router that likes some experts more. The share of choices dropped falls slowly, from "
        f"{at(rows)[0]['dropped']:.0%}; a thin line shows that a fair router's is gone soon after factor 1. The "
        f"share of slots that stay empty rises, above its dotted least, 1 − 1/c, to {at(rows)[-1]['empty']:.0%}. A "
        f"vertical line stands at factor {factor:g}: {here['dropped']:.1%} dropped, {here['empty']:.1%} empty. Bands "
        f"show nine simulated draws of ten (seed {seed}). Controls: experts, top-k, tokens, factor, skew, router.",
    )


def chart(rows: Rows, size: Size) -> Chart:
    def choice(name: str, label: str, options: Any) -> alt.Parameter:
        return alt.param(name=name, value=OPENS_WITH[name], bind=alt.binding_select(options=list(options), name=label))

    params = [
        choice("num_experts", "Experts N", crowding.EXPERTS),
        choice("top_k", "Top-k", TOP_K),
        choice("num_tokens", "Tokens", TOKENS),
        choice("capacity_factor", "Capacity factor", FACTORS),
        choice("skew", "Skew", crowding.SKEWS),
        choice("router", "Router", (BY_SKEW, *TRAINED)),
    ]
    ours = f"datum.num_experts == num_experts && datum.skew == skew || datum.router != '{BY_SKEW}'"
    table = alt.Chart(alt.NamedData("table"))
    fair = table.transform_filter(f"datum.skew == 0 && datum.num_experts == (router == '{BY_SKEW}' ? num_experts : 8)")
    fair = fair.transform_filter("datum.top_k == top_k && datum.num_tokens == num_tokens")
    base = (
        table.transform_filter(f"datum.router == router && ({ours})")
        .transform_filter("datum.top_k == top_k && datum.num_tokens == num_tokens")
        .transform_calculate(
            used="datum.num_tokens * datum.top_k / (datum.num_experts * datum.capacity)",
            bound="max(0, 1 - 1 / datum.capacity_factor)",
        )
        .transform_calculate(
            empty_low="1 - (1 - datum.low) * datum.used", empty_high="1 - (1 - datum.high) * datum.used"
        )
    )
    return (
        alt.layer(*curves(base, fair), *marks(base, size))
        .add_params(*params)
        .properties(width=size.width, height=360 if size.narrow else 330)
        .properties(autosize=alt.AutoSizeParams(type="fit", contains="padding"))
    )


def curves(base: Chart, fair: Chart) -> list[Chart]:
    """What is dropped and what stays empty, each with its draws, and the least that must stay empty."""
    scale = alt.Scale(domain=[FACTORS[0], FACTORS[-1]], nice=False)
    x = alt.X("capacity_factor:Q", title="capacity factor c", scale=scale, axis=alt.Axis(values=[0.5, 1, 1.5, 2, 3, 4]))
    y = alt.Y("dropped:Q", title="share", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=5))
    line: dict[str, Any] = {"interpolate": "linear"}
    tips = [alt.Tooltip("capacity_factor:Q", title="capacity factor"), alt.Tooltip("capacity:Q", title="slots")]
    tips += [alt.Tooltip(f"{name}:Q", format=".1%") for name in ("dropped", "empty")]
    return [
        base.mark_area(color=colour("dropped"), opacity=0.2).encode(x=x, y="low:Q", y2="high:Q"),
        base.mark_area(color=colour("soft"), opacity=0.25).encode(x=x, y="empty_low:Q", y2="empty_high:Q"),
        fair.mark_line(color=colour("dropped"), strokeWidth=1, **line)
        .encode(x=x, y="dropped:Q")
        .properties(name="fair"),
        base.mark_line(color=colour("ink"), strokeDash=[2, 3], strokeWidth=1.5, **line)
        .encode(x=x, y="bound:Q")
        .properties(name="bound"),
        base.mark_line(color=colour("soft"), strokeDash=[7, 3], strokeWidth=2.5, **line)
        .encode(x=x, y="empty:Q")
        .properties(name="part_empty"),
        base.mark_line(color=colour("dropped"), strokeWidth=2.5, **line)
        .encode(x=x, y=y)
        .properties(name="part_dropped_part_expected"),
        base.mark_point(size=140, opacity=0).encode(x=x, y=y, tooltip=tips),
        base.mark_point(size=140, opacity=0).encode(x=x, y="empty:Q", tooltip=tips),
    ]


def marks(base: Chart, size: Size) -> list[Chart]:
    """The factor that is chosen, with its two values; names of the curves; the factors of Switch."""
    here = base.transform_filter("datum.capacity_factor == capacity_factor")
    dot: dict[str, Any] = {"size": 90, "opacity": 1, "stroke": colour("paper"), "strokeWidth": 1.5}
    x = alt.X("capacity_factor:Q")
    now = (
        "'Factor ' + capacity_factor + ': ' + format(datum.dropped, '.1%') + ' dropped'",
        "format(datum.empty, '.1%')",
    )
    later = f"isValid(datum.least) ? 'under {FEW:.0%} dropped from factor ' + datum.least + ' on'"
    none, then = f"'no factor here drops under {FEW:.0%}'", "', ' + format(datum.then, '.0%') + ' empty'"
    said = [f"{now[0]} + ', ' + {now[1]} + ' of the slots empty'", f"{later} + {then} : {none}"]
    if size.narrow:
        said = [now[0], f"{now[1]} + ' of the slots empty'", f"{later} : {none}"]
    readout = (
        base.transform_calculate(
            now="datum.capacity_factor == capacity_factor", good=f"datum.dropped < {FEW} ? datum.capacity_factor : null"
        )
        .transform_joinaggregate(least="min(good)")
        .transform_calculate(reached="datum.capacity_factor == datum.least ? datum.empty : null")
        .transform_joinaggregate(then="max(reached)")
        .transform_filter("datum.now")
        .transform_calculate(words=f"[{', '.join(said)}]")
        .mark_text(align="left", baseline="top", fontSize=12 if size.narrow else 13, fontWeight=600, lineHeight=17)
        .encode(text="words:N", x=alt.value(-30 if size.narrow else 0), y=alt.value(-74 if size.narrow else -58))
        .properties(name="readout")
    )
    tested = over([{"factor": factor, "word": "in Switch" if factor == TESTED[-1] else ""} for factor in TESTED])
    named = base.transform_filter(f"datum.capacity_factor == {FACTORS[-1]}")
    ends: dict[str, Any] = {"align": "right", "fontSize": 12, "fontWeight": 600}
    return [
        here.mark_rule(color=colour("ink"), strokeWidth=1).encode(x=x).properties(name="part_capacity"),
        here.mark_point(filled=True, color=colour("dropped"), **dot).encode(x=x, y="dropped:Q"),
        here.mark_point(filled=True, color=colour("soft"), shape="square", **dot).encode(x=x, y="empty:Q"),
        tested.mark_point(shape="triangle-down", color=colour("ink"), size=50, opacity=1).encode(
            x="factor:Q", y=alt.value(-4)
        ),
        tested.mark_text(align="left", dx=8, fontSize=11, color=colour("soft")).encode(
            x="factor:Q", y=alt.value(-4), text="word:N"
        ),
        named.mark_text(text="slots empty", dy=-16, color=colour("soft"), **ends).encode(x=x, y="empty:Q"),
        named.mark_text(text="choices dropped", dy=-10, color=colour("dropped"), **ends).encode(x=x, y="dropped:Q"),
        readout,
    ]
