"""The auxiliary loss, moved by hand. Uniform is not its least value, and yet it pushes there: for the load follows."""

from itertools import product
from typing import Any

import altair as alt
import torch

from moedocs.charts import Chart, Size, colour
from moedocs.cost import Quantity
from moedocs.engine import auxiliary_loss, softmax_top_k
from moedocs.site.figure import Rows, Words

title = "The auxiliary loss, moved by hand"
badge = "formula"
sources = ("switch-2021", "gshard-2020")

EXPERTS = (4, 8, 16)
TILTS = tuple(step / 2 for step in range(-4, 5))  # beyond 2.5 no k = 2 choices could give four experts such shares
COUNTED = {1: "choices, whatever k is", 2: "tokens, with k = 2"}
OPENS_WITH = {"num_experts": 4, "load_tilt": 1.5, "probability_tilt": 1.5}
ALONE, TOGETHER, AGAINST = "f stays, P moves", "f moves with P", "f moves against P"
STYLE = {
    TOGETHER: (colour("active"), [1, 0]),
    ALONE: (colour("router"), [7, 3]),
    AGAINST: (colour("soft"), [2, 3]),
}
EXTENT: dict[str, Any] = {"minExtent": 34, "maxExtent": 34, "titlePadding": 4}  # both panels begin at one place
HERE = " && ".join(f"datum.{name} == {name}" for name in OPENS_WITH)


def data() -> Rows:
    """One row per expert and state: f, P, the engine's loss of the two, and its gradient by the router logit."""
    return [row for state in product(EXPERTS, TILTS, TILTS) for row in one_state(*state)]


def one_state(num_experts: int, load_tilt: float, probability_tilt: float) -> Rows:
    """A token whose probabilities are P, and f as from a batch: choices are counts, so nothing flows through them."""
    logits_TE = tilted(num_experts, probability_tilt)[None].requires_grad_()
    routing, share_E = softmax_top_k(logits_TE, 1), tilted(num_experts, load_tilt).softmax(0)
    loss = auxiliary_loss(routing, share_E=share_E)
    (gradient_TE,) = torch.autograd.grad(loss, logits_TE)
    state = dict(zip(OPENS_WITH, (num_experts, load_tilt, probability_tilt), strict=True))
    columns = zip(*(column.tolist() for column in (share_E, routing.probs_TE[0], gradient_TE[0])), strict=True)
    return [
        {**state, "expert": expert, "load": load, "probability": probability}
        | {"gradient": round(gradient, 6), "loss": loss.item()}
        for expert, (load, probability, gradient) in enumerate(columns, 1)
    ]


def tilted(num_experts: int, tilt: float) -> torch.Tensor:
    """Logits (E,) in equal steps: after a softmax the first expert has 2^tilt times as much as the last."""
    return torch.linspace(tilt, 0, num_experts) * torch.tensor(2.0).log()


def losses(rows: Rows) -> dict[str, float]:
    """The loss as the figure opens, and at the left end of each curve there, where P favours the last expert."""
    found = {(row["load_tilt"], row["probability_tilt"]): row["loss"] for row in rows if row["num_experts"] == 4}
    end, load_tilt = min(TILTS), OPENS_WITH["load_tilt"]
    return {
        "opens": found[load_tilt, OPENS_WITH["probability_tilt"]],
        "alone": found[load_tilt, end],
        "together": found[end, end],
        "against": found[-end, end],
        "flat": found[load_tilt, 0.0],
        "even": found[0.0, 0.0],
    }


def facts(rows: Rows) -> dict[str, Quantity]:
    """Numbers that the page quotes."""
    return {name: Quantity(loss, "ratio", f"N Σ f P, {name}") for name, loss in losses(rows).items()}


def words(rows: Rows) -> Words:
    loss = losses(rows)
    return Words(
        f"Expert 1 is busy (f) and probable (P): the loss is {loss['opens']:.2f}, where perfect balance gives "
        f"{loss['even']:.0f}. Move P alone, and it falls to {loss['alone']:.2f}: an even load does not make it least. "
        f"It is least there only along the valley, where f moves with P. The push looks at f, not at the value. "
        f"Two dials are no router: in training f follows P roughly, through the choices of many tokens.",
        f"On the left, for each of four experts, two bars: the share of choices f and the mean router probability P. A "
        f"dashed line marks an even share. An arrow below shows which way a step down the loss pushes the expert's "
        f"router logit: down for the busy ones, up for the idle. On the right three curves of the loss over the tilt "
        f"of P. Where f moves with P, a valley: {loss['even']:.0f} where both are even, {loss['together']:.2f} at its "
        f"ends. Where f moves against P, a hill: {loss['against']:.2f} at its ends. Where f stays, it falls all the "
        f"way, to {loss['alone']:.2f}. A point marks the state. Controls set the number of experts, both tilts, and "
        f"whether f is a share of choices or of tokens, which multiplies the loss by k.",
    )


def chart(rows: Rows, size: Size) -> Chart:
    width = size.width - 62 if size.narrow else 266
    bars = shares().properties(width=width, height=150)
    left = alt.vconcat(bars, pushes().properties(width=width, height=90), spacing=10)
    right = curves().properties(width=width if size.narrow else 240, height=190 if size.narrow else 250)
    both = alt.vconcat(left, right, spacing=18) if size.narrow else alt.hconcat(left, right, spacing=22)
    both = both.resolve_scale(color="independent", strokeDash="independent", x="independent")
    return alt.vconcat(readout(size), both, spacing=10, data=alt.NamedData("table")).add_params(*params())


def params() -> list[alt.Parameter]:
    labels = {
        "num_experts": ("Experts N", EXPERTS),
        "load_tilt": ("Tilt of the load f", TILTS),
        "probability_tilt": ("Tilt of the probability P", TILTS),
    }
    binds = {name: alt.binding_select(options=list(options), name=label) for name, (label, options) in labels.items()}
    counted = alt.binding_select(options=list(COUNTED), labels=list(COUNTED.values()), name="f is a share of")
    states = [alt.param(name=name, value=OPENS_WITH[name], bind=bind) for name, bind in binds.items()]
    return [*states, alt.param(name="counted", value=1, bind=counted)]


def shares() -> Chart:
    """f and P of each expert side by side, and the even share of each: where k counts, f is k times its share."""
    base = alt.Chart().transform_filter(HERE)
    looks: dict[str, dict[str, Any]] = {
        "load": {"fill": colour("active"), "stroke": colour("active")},
        "probability": {"fill": colour("router"), "fillOpacity": 0.3, "stroke": colour("router")},
    }
    values = {"load": "datum.load * counted", "probability": "datum.probability"}
    names = {"load": "f, share chosen", "probability": "P, mean probability"}
    axis = alt.Axis(format="%", tickCount=4, **EXTENT)
    legend = alt.Legend(orient="top", title=None, symbolType="square", offset=4, columns=2, labelLimit=150)
    scale = alt.Scale(domain=list(names.values()), range=[look["stroke"] for look in looks.values()])
    bars = [
        base.transform_calculate(share=values[part], which=f"'{names[part]}'")
        .mark_bar(strokeWidth=1.2, **look)
        .encode(
            x=alt.X("expert:O", title=None, axis=None),
            xOffset=alt.XOffset("which:N", scale=alt.Scale(domain=list(names.values()), paddingInner=0.12)),
            y=alt.Y("share:Q", title="share", axis=axis),
            color=alt.Color("which:N", scale=scale, legend=legend),
            tooltip=["expert:O", alt.Tooltip("share:Q", title=names[part], format=".1%")],
        )
        .properties(name=f"part_{part}")
        for part, look in looks.items()
    ]
    even = (
        base.transform_filter("datum.expert == 1")
        .transform_calculate(even="[1 / num_experts, counted / num_experts]")
        .transform_flatten(["even"])
        .mark_rule(color=colour("ink"), strokeDash=[4, 3])
        .encode(y="even:Q")
        .properties(name="part_even")
    )
    return alt.layer(*bars, even)


def pushes() -> Chart:
    """Which way and how far a step down the loss moves each router logit."""
    base = alt.Chart().transform_filter(HERE).transform_calculate(push="-datum.gradient * counted")
    x = alt.X("expert:O", title="expert", axis=alt.Axis(labelAngle=0, ticks=False))
    y = alt.Y("push:Q", title="push on logit", axis=alt.Axis(tickCount=3, **EXTENT))
    sign = alt.condition("datum.push > 0", alt.value(colour("plus")), alt.value(colour("minus")))
    turned = alt.condition("datum.push > 0", alt.value("triangle-up"), alt.value("triangle-down"))
    shafts = base.mark_bar(width=4).encode(x=x, y=y, color=sign).properties(name="part_gradient")
    pushed = alt.condition("abs(datum.push) > 0.0005", alt.value(1), alt.value(0))
    tooltip = ["expert:O", alt.Tooltip("push:Q", format="+.3f")]
    heads = (
        base.mark_point(size=90)
        .encode(x=x, y=y, color=sign, shape=turned, opacity=pushed, tooltip=tooltip)
        .properties(name="part_gradient_heads")
    )
    room = (  # of all states, so that arrows can be compared
        alt.Chart()
        .transform_filter("datum.num_experts == num_experts")
        .transform_calculate(size="1.15 * counted * abs(datum.gradient)")
        .transform_aggregate(most="max(size)")
        .transform_calculate(push="[datum.most, -datum.most]")
        .transform_flatten(["push"])
        .mark_point(opacity=0)
        .encode(y=y)
    )
    return alt.layer(room, shafts, heads)


def curves() -> Chart:
    """The loss over the tilt of P, with the load kept, taken along, or turned against it; and where the dials stand."""
    ways = {
        ALONE: "datum.load_tilt == load_tilt",
        TOGETHER: "datum.load_tilt == datum.probability_tilt",
        AGAINST: "datum.load_tilt == -datum.probability_tilt",
    }
    base = (
        alt.Chart()
        .transform_filter("datum.num_experts == num_experts && datum.expert == 1")
        .transform_calculate(value="datum.loss * counted")
    )
    x = alt.X("probability_tilt:Q", title="tilt of P", axis=alt.Axis(values=[-2, -1, 0, 1, 2], grid=False))
    y = alt.Y("value:Q", title="loss N Σ f P", scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=6))
    colours, dashes = zip(*STYLE.values(), strict=True)
    legend = alt.Legend(
        orient="bottom", title=None, symbolType="stroke", symbolSize=500, symbolStrokeWidth=2, columns=1
    )
    looks = {
        "color": alt.Color("way:N", scale=alt.Scale(domain=list(STYLE), range=list(colours)), legend=legend),
        "strokeDash": alt.StrokeDash("way:N", scale=alt.Scale(domain=list(STYLE), range=list(dashes)), legend=legend),
    }
    lines = [
        base.transform_filter(which)
        .transform_calculate(way=f"'{way}'")
        .mark_line(interpolate="monotone")
        .encode(x=x, y=y, **looks)
        for way, which in ways.items()
    ]
    even = (
        base.transform_aggregate(of="count()")
        .transform_calculate(value="counted")
        .mark_rule(color=colour("ink"), strokeDash=[4, 3])
        .encode(y=y)
        .properties(name="part_even_loss")
    )
    tooltip = [alt.Tooltip("value:Q", title="loss", format=".3f"), "load_tilt:Q", "probability_tilt:Q"]
    here = (
        base.transform_filter(HERE)
        .mark_point(size=130, opacity=1, color=colour("ink"), stroke=colour("paper"), strokeWidth=1.5)
        .encode(x=x, y=y, tooltip=tooltip)
        .properties(name="part_loss")
    )
    return alt.layer(even, *lines, here)


def readout(size: Size) -> Chart:
    """The loss and what to make of it, from loss and gradient alone."""
    value = "'Loss ' + format(datum.loss * counted, '.2f') + ', at perfect balance ' + counted + ':'"
    said = {
        "datum.most < 0.0001": ("an even load pushes nothing,", "whatever P is"),
        "abs(datum.loss - 1) < 0.0005": ("as at perfect balance, and yet the load", "is uneven: the push sees it"),
        "datum.loss < 1": ("less than at perfect balance, for busy", "experts have little probability"),
    }
    otherwise = ("busy experts are the probable ones,", "and are pushed down")

    def lines(said: tuple[str, ...]) -> str:
        below = said if size.narrow else (" ".join(said),)
        return f"[{', '.join((value, *map(repr, below)))}]"

    verdict = " : ".join(f"{test} ? {lines(found)}" for test, found in said.items())
    return (
        alt.Chart()
        .transform_filter(HERE)
        .transform_calculate(push="abs(datum.gradient)")
        .transform_aggregate(loss="max(loss)", most="max(push)")
        .transform_calculate(words=f"{verdict} : {lines(otherwise)}")
        .mark_text(align="left", baseline="top", fontSize=13, fontWeight=600, lineHeight=17)
        .encode(text="words:N", x=alt.value(0), y=alt.value(0))
        .properties(name="readout", width=size.width - 70, height=52 if size.narrow else 35)
    )
