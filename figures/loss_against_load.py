"""What the auxiliary loss says of trained layers. A bias levels the load, and the loss falls below 1 or stays above."""

from typing import Any

import altair as alt

from moedocs.charts import Chart, Size, colour, over
from moedocs.cost import Quantity
from moedocs.lab import records as lab_records
from moedocs.site.figure import Rows, Words

title = "The loss and the load of trained layers"
badge = "trained model"
records = ("balance",)
sources = ("switch-2021", "loss-free-2024")

RULES = {  # arm: name, colour, shape
    "none": ("none", colour("soft"), "circle"),
    "constant": ("constant loss", colour("dropped"), "cross"),
    "z": ("z-loss", colour("skipped"), "diamond"),
    "auxiliary-0.01": ("auxiliary loss", colour("router"), "triangle-up"),
    "bias": ("bias", colour("active"), "square"),
}
OPENS_WITH = {"top_k": 1, "training_step": 300}
HERE = " && ".join(f"datum.{name} == {name}" for name in OPENS_WITH)


def data() -> Rows:
    """One row per trained layer and look at validation text: N Σ f P, and the busiest expert's load over the mean."""
    found = lab_records.load("balance").results
    looks = [(at, found["steps"].index(step), step) for at, step in enumerate(found["probability_steps"])]
    return [
        {"rule": name, "top_k": top_k, "training_step": step, "seed": run["seed"], "layer": layer + 1}
        | of_layer(run["share"][look][layer], run["probability"][at][layer])
        | {"router_entropy": run["router_entropy"][look][layer]}
        for arm, (name, _, _) in RULES.items()
        for top_k in (1, 2)
        for run in found["arms"][f"{arm}/k{top_k}"]
        for at, look, step in looks
        for layer in range(len(run["share"][look]))
    ]


def of_layer(share_E: list[float], probability_E: list[float]) -> dict[str, float]:
    """The loss of Switch without its weight, and how uneven its two factors are, each by itself."""
    num_experts = len(share_E)
    products = (f * p for f, p in zip(share_E, probability_E, strict=True))
    return {
        "loss": num_experts * sum(products),
        "imbalance": num_experts * max(share_E),
        "largest_probability": max(probability_E),
        "largest_share": max(share_E),
    }


def shown(rows: Rows, rule: str) -> Rows:
    """The rows of a rule as the figure opens, the lowest loss first."""
    chosen = [row for row in rows if all(row[key] == value for key, value in OPENS_WITH.items())]
    return sorted((row for row in chosen if row["rule"] == rule), key=lambda row: float(row["loss"]))


def facts(rows: Rows) -> dict[str, Quantity]:
    """Numbers that the page quotes: each rule's lowest and highest loss, its entropy, and the layer of the lowest."""
    found = {}
    for arm, (name, _, _) in RULES.items():
        ordered = shown(rows, name)
        for end, row in (("least", ordered[0]), ("most", ordered[-1])):
            found[f"{arm}-{end}"] = Quantity(
                row["loss"], "ratio", f"N Σ f P of layer {row['layer']}, seed {row['seed']}"
            )
        entropy = sum(row["router_entropy"] for row in ordered) / len(ordered)
        found[f"{arm}-entropy"] = Quantity(entropy, "nat", f"router entropy, mean of {len(ordered)} layers")
    lowest = shown(rows, "bias")[0]
    plain, z = (
        {(row["seed"], row["layer"]): row["router_entropy"] for row in shown(rows, rule)} for rule in ("none", "z-loss")
    )
    return found | {
        "z-raises": Quantity(
            sum(z[at] > plain[at] for at in plain), "count", "layers with more entropy than with no rule"
        ),
        "lowest-share": Quantity(lowest["largest_share"], "share", "its busiest expert's share of the choices"),
        "lowest-probability": Quantity(
            lowest["largest_probability"], "share", "its most probable expert's mean probability"
        ),
        "lowest-layer": Quantity(lowest["layer"], "count", "counted from 1"),
        "lowest-seed": Quantity(lowest["seed"], "count", "counted from 0"),
        "layers": Quantity(len(shown(rows, "bias")), "count", "layers of all seeds"),
    }


def words(rows: Rows) -> Words:
    lowest, bias, aux, none = (
        shown(rows, "bias")[0],
        *(shown(rows, name) for name in ("bias", "auxiliary loss", "none")),
    )
    ends = {
        name: f"{of[0]['loss']:.2f} to {of[-1]['loss']:.2f}"
        for name, of in (("bias", bias), ("aux", aux), ("none", none))
    }
    return Words(
        f"Every mark is a layer of a small model, three models for each rule. Trained with the auxiliary loss, "
        f"weight 0.01, a layer has a loss of {ends['aux']}; with no rule, {ends['none']}. The bias makes the load "
        f"about as even, and the loss comes out as {ends['bias']}: it moves the choice and not the probability, and "
        f"where f does not follow P the value tells little of the load. Not shown: what an uneven load costs.",
        f"A scatter of {len(RULES)} rules, {len(bias)} layers each. Across, the load of the busiest expert over the "
        f"mean, 1 where all are equal; upwards, the auxiliary loss without its weight, with a dashed line at 1. Layers "
        f"with no rule, with the constant loss and with the z-loss rise to the right. Those trained with the auxiliary "
        f"loss crowd at the left, close above the line, {ends['aux']}. Those with the bias stand at the left too, but "
        f"up and down, {ends['bias']}; the lowest, layer {lowest['layer']} of seed {lowest['seed']}, has its busiest "
        f"expert at {lowest['imbalance']:.2f} times the mean. Controls choose experts per token and the training step.",
    )


def chart(rows: Rows, size: Size) -> Chart:
    labels = {"top_k": "Top-k", "training_step": "Training step"}
    params = [
        alt.param(name=name, value=OPENS_WITH[name], bind=alt.binding_select(options=options(rows, name), name=label))
        for name, label in labels.items()
    ]
    names, colours, shapes = (list(part) for part in zip(*RULES.values(), strict=True))
    legend = alt.Legend(orient="bottom", title=None, columns=2 if size.narrow else 5, symbolSize=80, symbolOpacity=1)
    scales: dict[str, Any] = {
        "color": alt.Scale(domain=names, range=colours),
        "shape": alt.Scale(domain=names, range=shapes),
    }
    ticks = alt.Axis(values=[0.8, 0.9, 1, 1.2, 1.5, 2, 2.5, 3, 4, 5], format="~g")
    base = alt.Chart(alt.NamedData("table")).transform_filter(HERE)
    layers = base.mark_point(size=70, filled=True, opacity=0.75, stroke=colour("paper"), strokeWidth=0.7).encode(
        x=alt.X(
            "imbalance:Q",
            title="load of the busiest expert ÷ mean load",
            scale=alt.Scale(type="log", domainMin=1, nice=False, padding=9),
            axis=alt.Axis(grid=True, values=[1, 1.5, 2, 3, 4, 5, 6, 7, 8], format="~g"),
        ),
        y=alt.Y("loss:Q", title="loss N Σ f P", scale=alt.Scale(type="log", nice=False, padding=9), axis=ticks),
        color=alt.Color("rule:N", scale=scales["color"], legend=legend),
        shape=alt.Shape("rule:N", scale=scales["shape"], legend=legend),
        tooltip=[
            "rule:N",
            "seed:O",
            "layer:O",
            *(alt.Tooltip(f"{name}:Q", format=".3f") for name in ("loss", "imbalance")),
        ],
    )
    even = over([{"loss": 1}]).mark_rule(color=colour("ink"), strokeDash=[4, 3]).encode(y="loss:Q")
    return (
        alt.layer(even, layers.properties(name="part_loss"), readout(base, size))
        .add_params(*params)
        .properties(width=size.width, height=330, autosize=alt.AutoSizeParams(type="fit", contains="padding"))
    )


def options(rows: Rows, name: str) -> list[int]:
    return sorted({int(row[name]) for row in rows})


def readout(base: Chart, size: Size) -> Chart:
    """The layer of the lowest loss in words."""
    lines = [
        "'Lowest: ' + format(datum.loss, '.2f') + ' (' + datum.rule + ', seed ' + datum.seed + ')'",
        "'its busiest expert: ' + format(datum.imbalance, '.2f') + ' × the mean'",
    ]
    joined = ", ".join(lines) if size.narrow else " + ', ' + ".join(lines)
    return (
        base.transform_window(rank="row_number()", sort=[alt.SortField("loss")])
        .transform_filter("datum.rank == 1")
        .transform_calculate(words=f"[{joined}]")
        .mark_text(align="left", baseline="top", fontSize=13, fontWeight=600, lineHeight=17)
        .encode(text="words:N", x=alt.value(0), y=alt.value(-42 if size.narrow else -25))
        .properties(name="readout")
    )
