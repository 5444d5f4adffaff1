"""What the weight of the auxiliary loss buys, and what it costs: the busiest share, and the validation loss."""

from statistics import mean
from typing import Any

import altair as alt

from moedocs.charts import Chart, Size, colour, over
from moedocs.cost import Quantity
from moedocs.lab.records import load
from moedocs.site.figure import Rows, Words

title = "The weight of the auxiliary loss"
badge = "trained model"
records = ("balance",)
sources = ("switch-2021",)

WEIGHTS = (0.0001, 0.001, 0.01, 0.1, 1.0)
NONE_AT = 0.00001  # where, on a scale without a 0, the runs without a loss stand
EXPERTS = 8
OPENS_WITH: dict[str, float] = {"top_k": 1, "weight": 0.01}
MEASURES = {"largest_share": "busiest expert's share", "validation_loss": "validation loss, nats per byte"}


def data() -> Rows:
    """One row per weight, k and seed, at the end of training; weight 0 is none. Shares are means of the layers'."""
    arms = load("balance").results["arms"]
    return [
        {"weight": weight, "top_k": top_k, "seed": run["seed"]}
        | {measure: round(run[measure][-1], 4) for measure in MEASURES}
        for top_k in (1, 2)
        for weight in (0.0, *WEIGHTS)
        for run in arms[f"auxiliary-{weight:g}/k{top_k}" if weight else f"none/k{top_k}"]
    ]


def of(rows: Rows, measure: str, weight: float, top_k: int = 1) -> list[float]:
    """Of each seed."""
    return [float(row[measure]) for row in rows if (row["weight"], row["top_k"]) == (weight, top_k)]


def facts(rows: Rows) -> dict[str, Quantity]:
    """What the largest weight costs beside none, seed by seed, for one expert a token."""
    pairs = zip(of(rows, "validation_loss", 1.0), of(rows, "validation_loss", 0.0), strict=True)
    costs = [heavy - none for heavy, none in pairs]
    return {
        "cost": Quantity(mean(costs), "ratio", "nats per byte at weight 1, less those without a loss; mean of seeds"),
        "cost-least": Quantity(min(costs), "ratio", "the same, of the seed where it is least"),
        "cost-most": Quantity(max(costs), "ratio", "the same, of the seed where it is most"),
    }


def words(rows: Rows) -> Words:
    def told(measure: str, weight: float, written: str) -> str:
        return format(mean(of(rows, measure, weight)), written)

    shares = [told("largest_share", weight, ".0%") for weight in (0.0, 0.001, 0.01, 1.0)]
    losses = [told("validation_loss", weight, ".3f") for weight in (0.0, 0.01, 1.0)]
    return Words(
        f"One expert a token, mean of {len(of(rows, 'largest_share', 0.0))} seeds: the busiest of {EXPERTS} experts "
        f"has {shares[0]} without a loss, {shares[1]} at weight 0.001, {shares[2]} at 0.01 and {shares[3]} at 1. The "
        f"validation loss hardly moves ({losses[0]} without, {losses[1]} at 0.01) until the weight is 1, where it is "
        f"{losses[2]}. Most of the evenness costs no more here than seeds differ; the last of it does. Every weight "
        f"had its own learning rate, found by the same search.",
        f"Two charts, one above the other, over the weight of the loss on a logarithmic scale from none to 1. A dot is "
        f"a training, a bar spans the seeds of a weight, a line joins their means. Above, the share of the busiest "
        f"expert falls from {shares[0]} towards the dashed line of an even share. Below, the validation loss stays "
        f"level and rises at the last weight. Controls choose one or two experts a token, and the weight that is read "
        f"out.",
    )


def table(rows: Rows) -> Rows:
    return [row for row in rows if row["top_k"] == OPENS_WITH["top_k"]]


def chart(rows: Rows, size: Size) -> Chart:
    several = [
        alt.param(name=name, value=OPENS_WITH[name], bind=alt.binding_select(options=list(options), name=label))
        for name, label, options in (("top_k", "Experts a token", (1, 2)), ("weight", "Weight read out", WEIGHTS))
    ]
    both = alt.vconcat(
        panel("largest_share", size), panel("validation_loss", size), data=alt.NamedData("table"), spacing=26
    )
    return both.transform_filter("datum.top_k == top_k").add_params(*several)


def panel(measure: str, size: Size) -> Chart:
    share = measure == "largest_share"
    scale = alt.Scale(domain=[0, 0.45]) if share else alt.Scale(zero=False, nice=False, padding=12)
    y = alt.Y(f"{measure}:Q", title=None, scale=scale, axis=alt.Axis(format="%" if share else ".2f", tickCount=4))
    part = "part_load" if share else "part_quality"
    base = alt.Chart().transform_calculate(at=f"datum.weight || {NONE_AT}")
    hue = colour("active") if share else colour("ink")
    x = across(last=not share)
    means = base.mark_line(color=hue, strokeWidth=1.5).encode(x=x, y=y.aggregate("mean"))
    spans = base.mark_rule(color=hue, strokeWidth=2, opacity=0.45).encode(
        x=x, y=alt.Y(f"min({measure}):Q", scale=scale, title=None), y2=f"max({measure}):Q"
    )
    tips = [alt.Tooltip(name) for name in ("weight:Q", "seed:O", f"{measure}:Q")]
    dots = base.mark_point(color=hue, size=34).encode(x=x, y=y, tooltip=tips)
    lit = base.transform_filter("datum.weight == weight").mark_rule(color=colour("soft"), strokeDash=[2, 2]).encode(x=x)
    even = over([{measure: 1 / EXPERTS}]).mark_rule(color=colour("soft"), strokeDash=[4, 3]).encode(y=y)
    layers = [lit, spans.properties(name=f"{part}_span"), means.properties(name=f"{part}_mean"), dots]
    layers += [even.properties(name="part_even")] * share + told(base, measure, size)
    return alt.layer(*layers).properties(width=244 if size.narrow else 580, height=140 if size.narrow else 150)


def across(*, last: bool) -> alt.X:
    scale = alt.Scale(type="log", domain=[NONE_AT / 1.6, 1.6], nice=False)
    named = f"datum.value < {2 * NONE_AT} ? 'none' : format(datum.value, '~r')"
    axis = alt.Axis(values=[NONE_AT, *WEIGHTS], labelExpr=named, labelOverlap=False, ticks=False)
    return alt.X("at:Q", scale=scale, axis=axis, title="weight of the loss" if last else None)


def told(base: Any, measure: str, size: Size) -> list[Chart]:
    """What is measured, and what it is without a loss and at the weight read out."""
    written = ".0%" if measure == "largest_share" else ".3f"
    spread = {name: f"{name}({measure})" for name in ("mean", "min", "max")}
    numbers = " + ', seeds ' + ".join(
        [
            f"format(datum.mean, '{written}')",
            f"format(datum.min, '{written}') + ' to ' + format(datum.max, '{written}')",
        ]
    )
    said = base.transform_joinaggregate(**spread, groupby=["weight"]).transform_filter("datum.seed == 0")
    none = said.transform_filter("datum.weight == 0").transform_calculate(words=f"'none: ' + {numbers}")
    read = said.transform_filter("datum.weight == weight")
    read = read.transform_calculate(words=f"'weight ' + datum.weight + ': ' + {numbers}")
    left, font = {"align": "left", "baseline": "bottom"}, 11 if size.narrow else 12
    head = over([{"words": MEASURES[measure]}]).mark_text(fontSize=12, fontWeight=600, **left)
    beside = 0 if size.narrow else 250
    return [
        head.encode(text="words:N", x=alt.value(-30), y=alt.value(-40 if size.narrow else -18)),
        *(
            text.mark_text(fontSize=font, **left)
            .encode(text="words:N", x=alt.value(beside), y=alt.value(height))
            .properties(name=f"{measure}_{name}_readout")
            for name, text, height in (("none", none, -22), ("weight", read, -7))
        ),
    ]
