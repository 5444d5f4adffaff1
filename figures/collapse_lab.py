"""Load per expert while a model trains. Left alone, some experts take most tokens; both cures spread them."""

from statistics import mean
from typing import Any

import altair as alt

from moedocs.charts import Chart, Size, colour, expert_scale
from moedocs.cost import Quantity
from moedocs.lab.records import load
from moedocs.site.figure import Rows, Words

title = "Load per expert over training, three balancing rules"
badge = "trained model"
records = ("balance",)
sources = ("switch-2021", "loss-free-2024", "deepseek-v3-2024")

ARMS = {"none/k1": "no balancing", "auxiliary-0.01/k1": "auxiliary loss", "bias/k1": "bias correction"}
EXPERTS = 8
OPENS_WITH = {"layer": 2, "seed": 2}


def result() -> dict[str, Any]:
    return load("balance").results


def data() -> Rows:
    """One row per rule, seed, layer, step and expert: the expert's share of the tokens in that validation batch."""
    found = result()
    return [
        {
            "rule": ARMS[arm],
            "seed": run["seed"],
            "layer": layer + 1,
            "step": step,
            "expert": expert + 1,
            "share": share,
        }
        for arm in ARMS
        for run in found["arms"][arm]
        for step, share_LE in zip(found["steps"], run["share"], strict=True)
        for layer, share_E in enumerate(share_LE)
        for expert, share in enumerate(share_E)
    ]


def facts(rows: Rows) -> dict[str, Quantity]:
    """How much longer than its fair share the busiest expert works, without balancing, and how the losses differ."""
    share = result()["summary"]["none/k1"]["largest_share"]["mean"]
    losses = {arm: [run["validation_loss"][-1] for run in result()["arms"][arm]] for arm in ARMS}
    behind = [alone > helped for alone, helped in zip(losses["none/k1"], losses["auxiliary-0.01/k1"], strict=True)]
    settings = load("balance").settings["shared"]
    return {
        "apart": Quantity(apart(list(map(mean, losses.values()))), "ratio", "nats per byte between the means of rules"),
        "seeds-apart": Quantity(
            max(map(apart, losses.values())), "ratio", "nats per byte between seeds of one rule, most"
        ),
        "step": Quantity(
            settings["training.sequences"] * settings["training.sequence_length"],
            "count",
            "sequences times their length",
        ),
        "slowdown": Quantity(share * EXPERTS, "ratio", f"{share:.3g} of the tokens against 1/{EXPERTS}"),
        "behind": Quantity(sum(behind), "count", "seeds that end behind the auxiliary loss when nothing balances"),
        "seeds": Quantity(len(behind), "count", "starting points"),
    }


def words(rows: Rows) -> Words:
    found = result()
    summary, steps = found["summary"], found["steps"][-1]
    losses = [f"{ARMS[arm]} {summary[arm]['validation_loss']['mean']:.3f}" for arm in ARMS]
    between = max(summary[arm]["validation_loss"]["most"] - summary[arm]["validation_loss"]["least"] for arm in ARMS)
    return Words(
        f"After {steps} steps the busiest of {EXPERTS} experts holds {spread(found, 'none/k1')} of the tokens without "
        f"balancing, {spread(found, 'auxiliary-0.01/k1')} with the auxiliary loss and {spread(found, 'bias/k1')} with "
        f"bias correction (mean and range of {len(found['arms']['none/k1'])} seeds, mean of all layers); an even share "
        f"is {1 / EXPERTS:.1%}. What this does not show: a better model. At this size the validation losses "
        f"({', '.join(losses)} nats per byte) differ by no more than seeds do (up to {between:.3f}).",
        f"Three panels, one per balancing rule: none, auxiliary loss, bias correction. In each, eight lines follow the "
        f"share of tokens that each expert of one layer receives, from step 0 to {steps}. Without balancing the lines "
        f"fan out and stay apart; with either rule they draw together around the dashed line of an even share. "
        f"Controls choose the layer and the seed.",
    )


def apart(values: list[float]) -> float:
    """From the least to the most."""
    return max(values) - min(values)


def spread(found: dict[str, Any], arm: str) -> str:
    """The largest share at the end, over seeds."""
    share = found["summary"][arm]["largest_share"]
    return f"{share['mean']:.0%} ({share['least']:.0%} to {share['most']:.0%})"


def chart(rows: Rows, size: Size) -> Chart:
    params = [
        alt.param(
            name=name,
            value=OPENS_WITH[name],
            bind=alt.binding_select(options=sorted({int(row[name]) for row in rows}), name=name.capitalize()),
        )
        for name in OPENS_WITH
    ]
    last = max(int(row["step"]) for row in rows)
    base = alt.Chart().transform_filter("datum.layer == layer && datum.seed == seed")
    x = alt.X("step:Q", scale=alt.Scale(type="sqrt"), title="training step", axis=alt.Axis(values=[0, 20, 100, last]))
    y = alt.Y(
        "share:Q", title="share of tokens", axis=alt.Axis(format="%", tickCount=4), scale=alt.Scale(domain=[0, 1])
    )
    lines = base.mark_line(interpolate="linear", point={"size": 14}).encode(
        x=x,
        y=y,
        color=alt.Color("expert:O", scale=expert_scale(EXPERTS), legend=legend(size)),
        tooltip=[
            alt.Tooltip("expert:O"),
            alt.Tooltip("step:Q"),
            alt.Tooltip("share:Q", format=".1%"),
        ],
    )
    even = base.mark_rule(color=colour("soft"), strokeDash=[4, 3]).encode(y=alt.datum(1 / EXPERTS))
    return (
        alt.layer(even, lines, readout(base, last))
        .properties(width=230 if size.narrow else 170, height=130 if size.narrow else 230)
        .facet(
            facet=alt.Facet("rule:N", title=None, sort=list(ARMS.values()), header=alt.Header(labelAnchor="start")),
            columns=1 if size.narrow else 3,
            spacing=18 if size.narrow else 14,
            data=alt.NamedData("table"),
        )
        .add_params(*params)
    )


def legend(size: Size) -> alt.Legend:
    return alt.Legend(orient="bottom", direction="horizontal", columns=4 if size.narrow else 8, title="expert")


def readout(base: Chart, last: int) -> Chart:
    """The largest share at the end, in each panel."""
    return (
        base.transform_filter(f"datum.step == {last}")
        .transform_aggregate(largest="max(share)", groupby=["rule"])
        .transform_calculate(words="'busiest at the end: ' + format(datum.largest, '.0%')")
        .mark_text(align="right", baseline="top", fontSize=12, fontWeight=600)
        .encode(text="words:N", x=alt.value("width"), y=alt.value(0))
        .properties(name="readout")
    )
