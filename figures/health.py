"""A healthy router and three sick ones: what three logged numbers tell of each, and the model's loss does not."""

from math import log
from statistics import mean

import altair as alt

from moedocs.charts import Chart, Size, colour
from moedocs.cost import Quantity
from moedocs.lab.records import load
from moedocs.site.figure import Rows, Words

title = "A healthy router and three sick ones"
badge = "trained model"
records = ("balance",)
sources = ("switch-2021",)

EXPERTS, LAYERS = 8, 4
ARMS = {"healthy": ("auxiliary-0.01", 0.01), "no gradient": ("constant", 0.01)} | {
    "too weak": ("auxiliary-0.0001", 0.0001),
    "too strong": ("auxiliary-1", 1.0),
}  # rule of the record, and the weight of its loss
OPENS_WITH = {"top_k": 1}
LOGGED = {
    "logged": ("Balancing loss ÷ its weight, per layer", "part_loss", "ink", [0, 2.6], ".0f"),
    "busiest": ("Share of the busiest expert", "part_load", "active", [0, 0.65], ".0%"),
    "entropy": ("Router entropy ÷ log N", "part_entropy", "router", [0.6, 1], ".1f"),
}


def data() -> Rows:
    """One row per router, top-k, seed and step: means over the layers, a balancing loss over its weight."""
    found = load("balance").results
    return [
        {"router": name, "top_k": top_k, "seed": run["seed"], "step": step}
        | {
            "logged": run["balancing"][look] / weight / LAYERS,
            "busiest": run["largest_share"][look],
            "entropy": mean(run["router_entropy"][look]) / log(EXPERTS),
            "dead": sum(run["dead"][look]),
            "loss": run["validation_loss"][look],
        }
        for name, (rule, weight) in ARMS.items()
        for top_k in (1, 2)
        for run in found["arms"][f"{rule}/k{top_k}"]
        for look, step in enumerate(found["steps"])
    ]


def ends(rows: Rows, router: str, column: str) -> list[float]:
    """A column at the last step of the models with one expert per token, one value per seed."""
    last = max(row["step"] for row in rows)
    wanted = {"router": router, "step": last} | OPENS_WITH
    return [row[column] for row in rows if wanted.items() <= row.items()]


def facts(rows: Rows) -> dict[str, Quantity]:
    """Means over seeds at the end, by router; how far the logged constant strays; dead experts anywhere."""
    units = {"busiest": "share", "entropy": "ratio", "logged": "ratio", "loss": "ratio"}
    found = {
        f"{router.replace(' ', '-')}-{column}": Quantity(
            mean(ends(rows, router, column)), unit, f"{router}, at the end, mean of seeds"
        )
        for router in ARMS
        for column, unit in units.items()
    }
    constant = [row["logged"] for row in rows if row["router"] == "no gradient"]
    found["constant-moves"] = Quantity(max(constant) - min(constant), "ratio", "all steps and seeds")
    apart = [max(losses) - min(losses) for losses in (ends(rows, router, "loss") for router in ARMS)]
    found["seeds-apart"] = Quantity(max(apart), "ratio", "nats between seeds of one router, at most")
    found["dead"] = Quantity(max(row["dead"] for row in rows), "count", "experts without a token, most at any look")
    return found


def words(rows: Rows) -> Words:
    said = {router: f"{mean(ends(rows, router, 'busiest')):.0%}" for router in ARMS}
    entropy = {router: f"{mean(ends(rows, router, 'entropy')):.2f}" for router in ARMS}
    loss = {router: f"{mean(ends(rows, router, 'loss')):.3f}" for router in ARMS}
    flat = mean(ends(rows, "no gradient", "logged"))
    return Words(
        f"A balancing loss that works starts above 1 and settles near it, while the busiest of {EXPERTS} experts comes "
        f"down to {said['healthy']}. One without a gradient logs {flat:.3f} at every step, and the busiest expert ends "
        f"at {said['no gradient']}. One that is too weak moves without helping ({said['too weak']}). One that is too "
        f"strong balances ({said['too strong']}) and leaves the router undecided. The validation losses, "
        f"{', '.join(loss.values())} in this order, give only the last away. Means of three seeds and four layers. "
        f"What this does not show: which of these a larger model would survive.",
        f"Four columns: a healthy router, one whose balancing loss has no gradient, one whose weight is too small, one "
        f"whose weight is too large. Three rows over the steps, a thin line per seed and a thick one for the mean. "
        f"First the logged balancing loss divided by its weight: settling near 1, flat at {flat:.3f}, well above 1 to "
        f"the end, near 1 from early on. Second the busiest expert's share, ending at {', '.join(said.values())}. "
        f"Third router entropy over its largest value, ending at {', '.join(entropy.values())}.",
    )


def chart(rows: Rows, size: Size) -> Chart:
    bind = alt.binding_select(options=sorted({row["top_k"] for row in rows}), name="Experts per token k")
    param = alt.param(name="top_k", value=OPENS_WITH["top_k"], bind=bind)
    panels = [panel(column, rows, size) for column in LOGGED]
    return alt.vconcat(*panels, spacing=14, data=alt.NamedData("table"), params=[param.param])


def panel(column: str, rows: Rows, size: Size) -> Chart:
    """One number over the steps, a small chart for each router."""
    title, part, hue, domain, form = LOGGED[column]
    width, gap = (60, 6) if size.narrow else (138, 14)
    last = max(row["step"] for row in rows)
    base = alt.Chart().transform_filter("datum.top_k == top_k")
    x = alt.X(
        "step:Q",
        title=None,
        scale=alt.Scale(type="sqrt", domain=[0, last], nice=False),
        axis=alt.Axis(values=[0, 40, last], labelFlush=True, labelOverlap=False),
    )
    y = alt.Y(
        f"{column}:Q", title=None, scale=alt.Scale(domain=domain), axis=alt.Axis(tickCount=3, format=form, grid=True)
    )
    average = alt.AggregatedFieldDef(op="mean", field=column, **{"as": column})
    means = base.transform_aggregate([average], groupby=["router", "step"])
    even = {"logged": 1, "busiest": 1 / EXPERTS}
    layers = [
        base.mark_line(color=colour(hue), strokeWidth=1, opacity=0.6).encode(x=x, y=y, detail="seed:N"),
        means.mark_line(color=colour(hue), strokeWidth=2.5).encode(x=x, y=y),
        base.mark_point(size=120, opacity=0).encode(
            x=x, y=y, tooltip=[alt.Tooltip("seed:N"), alt.Tooltip("step:Q"), alt.Tooltip(f"{column}:Q", format=".3f")]
        ),
    ]
    if column in even:
        line = base.transform_aggregate(rows="count()").mark_rule(color=colour("soft"), strokeDash=[4, 3])
        layers.insert(0, line.encode(y=alt.datum(even[column])).properties(name=f"part_even_{column}"))
    if column == "logged":
        layers.append(heads(base, last, size))
    layers = [
        one.properties(name=f"{part}_{number}") if isinstance(one, alt.Chart) and one.name is alt.Undefined else one
        for number, one in enumerate(layers)
    ]
    return (
        alt.layer(*layers)
        .properties(width=width, height=80)
        .facet(
            column=alt.Column("router:N", sort=list(ARMS), header=alt.Header(labels=False), title=None),
            spacing=gap,
            bounds="flush",
            data=alt.NamedData("table"),
        )
        .properties(title=alt.TitleParams(title, anchor="start", frame="group"))
    )


def heads(base: Chart, last: int, size: Size) -> Chart:
    """Above each column its name, and how the busiest expert ends."""
    return (
        base.transform_filter(f"datum.step == {last}")
        .transform_aggregate(busiest="mean(busiest)", groupby=["router"])
        .transform_calculate(words="[datum.router, 'busiest ' + format(datum.busiest, '.0%')]")
        .mark_text(align="left", baseline="bottom", fontSize=11 if size.narrow else 12, lineHeight=15, fontWeight=500)
        .encode(text="words:N", x=alt.value(0), y=alt.value(-22))
        .properties(name="readout")
    )
