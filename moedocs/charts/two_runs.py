"""Two trainings side by side: load by expert over the steps, f and P at one of them, and six measures of both.

The rows have columns `rule`, `seed`, `training_step`, `f1` … and `p1` … (shares and mean probabilities by expert),
`router_entropy`, `dead`, `validation_loss` and `added`, what the rule adds to the training loss. A training whose
single experts were not recorded has `busiest` and `in_sequence` in the place of f and P. The parameters `left` and
`right` name the two rules, `seed` the training and `step` the look that is shown, of those in LOOKS.
"""

from __future__ import annotations

from typing import Any

import altair as alt

from moedocs.charts import Chart, Size, colour, expert_scale, over

EXPERTS, SIDES = 8, ("left", "right")
MOST, LABELS = 0.9, 30  # of an axis of shares; px for what stands beside one
LOOKS, LOOKS_ALONE = (0, 10, 40, 120, 300), (0, 10, 40, 160, 400)  # the second: of trainings without single experts
F, P = ([f"{of}{expert}" for expert in range(1, EXPERTS + 1)] for of in "fp")
ALONE = "isValid(datum.busiest)"
MEASURES: dict[
    str, tuple[str, str, str, list[float] | None, str]
] = {  # a phone's title, the part, the field, where it lies, how it is written
    "busiest expert's share": ("busiest share", "part_load", "most", [0, MOST], "%"),
    "entropy of the load (1: even)": ("load entropy", "part_load", "evenness", [0, 1], "~r"),
    "experts without a token": ("without a token", "part_load", "dead", [0, EXPERTS], "d"),
    "entropy of the router, nats": ("router entropy", "part_entropy", "router_entropy", [0, 2.08], "~r"),
    "validation loss, from step 40": ("validation loss", "part_quality", "validation_loss", None, "~r"),
    "added loss ÷ its first value": ("added loss ÷ first", "part_loss", "relative", [0, 2.2], "~r"),
}


def side_by_side(names: dict[str, str], alone: list[str], size: Size) -> Chart:
    """The whole chart over rows that are filtered to the two rules; `alone` are the rules without single experts."""
    small, many = [measure(title, size, alone) for title in MEASURES], 2 if size.narrow else 3
    rows = [[lines(side, names, alone, size) for side in SIDES], [bars(side, size) for side in SIDES]]
    rows += [small[at : at + many] for at in range(0, len(small), many)]
    charts = [alt.hconcat(*row, bounds="flush", spacing=space(size, len(row))) for row in rows]
    return alt.vconcat(*charts, data=alt.NamedData("table"), spacing=18)


def measured(chart: Chart) -> Chart:
    """With what is computed of each row: largest share, evenness, whether it is shown now, the loss added."""
    entropy = " + ".join(f"(datum.{f} > 0 ? -datum.{f} * log(datum.{f}) : 0)" for f in F)
    return (
        chart.transform_calculate(
            most=f"{ALONE} ? datum.busiest : max({', '.join(f'datum.{f}' for f in F)})",
            evenness=f"{ALONE} ? null : ({entropy}) / log({EXPERTS})",
            first="datum.training_step == 0 ? datum.added : null",
            now=f"datum.training_step == ({ALONE} ? {list(LOOKS_ALONE)} : {list(LOOKS)})[step]",
        )
        .transform_joinaggregate(first="max(first)", groupby=["rule", "seed"])
        .transform_calculate(relative="datum.first > 0 ? datum.added / datum.first : null")
    )


def width(size: Size, many: int) -> int:
    """Of each of so many charts in a row, beside the labels on their left."""
    return ((258 if size.narrow else 600) - (many - 1) * space(size, many)) // many


def space(size: Size, many: int) -> int:
    return 34 if size.narrow or many == 2 else 40


def lines(side: str, names: dict[str, str], alone: list[str], size: Size) -> Chart:
    """f over the steps, a line for each expert; where single experts were not recorded, the busiest one's."""
    x, y = steps(alone), shares(side)
    tips = [alt.Tooltip("expert:O"), alt.Tooltip("training_step:Q", title="step")]
    drawn = (
        by_expert(side, F)
        .mark_line(strokeWidth=1.8, point={"size": 12})
        .encode(x=x, y=y, color=hues(), tooltip=[*tips, alt.Tooltip("share:Q", title="f", format=".1%")])
    )
    one = of_seed(side)
    now = one.transform_filter("datum.now").mark_rule(color=colour("soft"), strokeDash=[2, 2]).encode(x=x)
    busiest = one.transform_filter(ALONE).mark_line(color=colour("ink")).encode(x=x, y="busiest:Q")
    within = one.transform_filter(ALONE).mark_line(color=colour("ink"), strokeDash=[2, 3])
    return alt.layer(
        now,
        even(side, "lines"),
        drawn.properties(name=f"{side}_part_load"),
        busiest.properties(name=f"{side}_part_load_busiest"),
        within.encode(x=x, y="in_sequence:Q").properties(name=f"{side}_part_load_within"),
        note(one, size),
        *heads(side, names, size),
        *[headed("f, each expert's share of the choices")] * (side == "left"),
    ).properties(width=width(size, 2), height=140 if size.narrow else 180)


def heads(side: str, names: dict[str, str], size: Size) -> list[Chart]:
    """Above a column: its name with a sample of its line, and in words where it now stands."""
    known = ", ".join(f"'{rule}': '{name}'" for rule, name in names.items())
    base = (
        bare()
        .transform_filter(f"datum.rule == {side} && datum.now")
        .transform_joinaggregate(
            **{"low": "min(most)", "high": "max(most)", "seeds": "count()"},
            **{"least": "min(validation_loss)", "greatest": "max(validation_loss)"},
        )
        .transform_filter("datum.seed == seed")
        .transform_calculate(
            name=f"({{{known}}})[datum.rule] + (datum.rule == 'auxiliary' ? ' ' + weight : '')", said=said(size)
        )
    )
    top = -114 if size.narrow else -84
    sample = {"color": colour("ink")} if side == "left" else {"color": colour("active"), "strokeDash": [5, 3]}
    bold = {"align": "left", "baseline": "top", "fontSize": 12 if size.narrow else 13, "fontWeight": 600}
    plain = {"align": "left", "baseline": "top", "fontSize": 11 if size.narrow else 12, "lineHeight": 15}
    return [
        base.mark_rule(strokeWidth=2.5, **sample).encode(x=alt.value(0), x2=alt.value(34), y=alt.value(top)),
        base.mark_text(**bold)
        .encode(text="name:N", x=alt.value(0), y=alt.value(top + 7))
        .properties(name=f"{side}_readout_name"),
        base.mark_text(**plain)
        .encode(text="said:N", x=alt.value(0), y=alt.value(top + 24))
        .properties(name=f"{side}_readout"),
    ]


def said(size: Size) -> str:
    """Busiest share and loss of the seed that is shown, and, where there are several, from the least to the most."""
    share, loss = (
        "'busiest expert ' + format(datum.most, '.0%')",
        "'validation loss ' + format(datum.validation_loss, '.3f')",
    )
    shares = "format(datum.low, '.0%') + ' to ' + format(datum.high, '.0%')"
    losses = "format(datum.least, '.3f') + ' to ' + format(datum.greatest, '.3f')"
    if not size.narrow:
        several = f"[{share} + ', seeds ' + {shares}, {loss} + ', seeds ' + {losses}]"
    else:
        share, loss = share.replace(" expert", ""), loss.replace("validation ", "")
        several = f"[{share}, 'seeds ' + {shares}, {loss}, {losses}]"
    return f"datum.seeds > 1 ? {several} : [{share}, {loss}]"


def note(one: Chart, size: Size) -> Chart:
    """What the two lines are where single experts were not recorded."""
    words = ["solid: busiest expert of all text", "dotted: the same, mean of single sequences"]
    if size.narrow:
        words = ["solid: of all text", "dotted: mean of", "single sequences"]
    text = one.transform_filter(f"{ALONE} && datum.training_step == 0").mark_text(
        align="left", baseline="top", fontSize=11, lineHeight=14, color=colour("soft")
    )
    return text.transform_calculate(words=repr(words)).encode(text="words:N", x=alt.value(4), y=alt.value(4))


def bars(side: str, size: Size) -> Chart:
    """f and P of the step that is shown: two things of each expert, never one series."""
    x = alt.X("expert:O", title="expert", axis=alt.Axis(labelAngle=0, ticks=False), scale=alt.Scale(domain=EIGHT))
    beside = alt.XOffset("of:N", scale=alt.Scale(domain=["f", "p"], paddingInner=0.1, paddingOuter=0.15))
    both = by_expert(side, F + P).transform_filter("datum.now").transform_calculate(of="substring(datum.column, 0, 1)")
    chosen = both.transform_filter("datum.of == 'f'").mark_bar()
    liked = both.transform_filter("datum.of == 'p'").mark_bar(filled=False, stroke=colour("router"), strokeWidth=1.5)
    tips, share = [alt.Tooltip("expert:O")], alt.Tooltip("share:Q", format=".1%")
    chosen = chosen.encode(x=x, y=shares(side), xOffset=beside, color=hues(), tooltip=[*tips, share.title("f, chosen")])
    liked = liked.encode(x=x, y=shares(side), xOffset=beside, tooltip=[*tips, share.title("P, mean probability")])
    layers = [chosen.properties(name=f"{side}_part_load_bars"), liked.properties(name=f"{side}_part_probability")]
    title = "f filled, P outlined, at this step" if size.narrow else "f (filled) and P (outlined) at this step"
    text = of_seed(side).transform_filter(f"{ALONE} && datum.now").mark_text(fontSize=11, color=colour("soft"))
    layers += [text.encode(text=alt.value("not recorded"), x=alt.value(width(size, 2) // 2), y=alt.value(20))]
    return alt.layer(even(side, "bars"), *layers, *[headed(title)] * (side == "left")).properties(
        width=width(size, 2), height=80 if size.narrow else 100
    )


def measure(title: str, size: Size, alone: list[str]) -> Chart:
    """Both trainings over each other: the chosen seed as a line, the range of all seeds as a band."""
    short, part, field, domain, written = MEASURES[title]
    late = " && datum.training_step >= 40" if field == "validation_loss" else ""
    base = bare().transform_filter(f"isValid(datum.{field}){late}")
    scale = {"domain": domain} if domain else {"zero": False, "nice": False}
    of = {"x": steps(alone, title=None), "detail": "rule:N"}

    def y(value: str) -> alt.Y:
        return alt.Y(
            value, title=None, scale=alt.Scale(**scale), axis=alt.Axis(format=written, tickCount=3, minExtent=LABELS)
        )

    def by_side(left: Any, right: Any) -> Any:
        return alt.condition("datum.rule == left", alt.value(left), alt.value(right))

    band = base.mark_area(opacity=0.22).encode(
        y=y(f"min({field}):Q"), y2=f"max({field}):Q", color=by_side(colour("soft"), colour("active")), **of
    )
    line = (
        base.transform_filter("datum.seed == seed")
        .mark_line()
        .encode(
            y=y(f"{field}:Q"),
            color=by_side(colour("ink"), colour("active")),
            strokeDash=by_side([1, 0], [5, 3]),
            tooltip=[alt.Tooltip("rule:N"), alt.Tooltip("training_step:Q"), alt.Tooltip(f"{field}:Q", format=".4~r")],
            **of,
        )
    )
    words = headed(short if size.narrow else title)
    return alt.layer(band, line.properties(name=f"{part}_{field}"), words).properties(
        width=width(size, 2 if size.narrow else 3), height=64 if size.narrow else 84
    )


EIGHT = list(range(1, EXPERTS + 1))


def bare() -> Chart:
    return alt.Chart()


def of_seed(side: str) -> Chart:
    return bare().transform_filter(f"datum.rule == {side} && datum.seed == seed")


def by_expert(side: str, fields: list[str]) -> Chart:
    """A row for each of these columns, with the expert that it is of."""
    folded = of_seed(side).transform_fold(fields, as_=["column", "share"]).transform_filter("isValid(datum.share)")
    return folded.transform_calculate(expert="toNumber(substring(datum.column, 1))")


def hues() -> alt.Color:
    return alt.Color("expert:O", scale=expert_scale(EXPERTS), legend=None)


def steps(alone: list[str], title: str | None = "training step") -> alt.X:
    """Steps, close together where little time passes between two looks; trainings without single experts go on."""
    longer = f"indexof({alone}, left) >= 0 || indexof({alone}, right) >= 0"
    scale = alt.Scale(type="sqrt", domain=[0, alt.ExprRef(f"{longer} ? 400 : 300")], nice=False)
    return alt.X("training_step:Q", scale=scale, title=title, axis=alt.Axis(values=[0, 20, 100, 300], ticks=False))


def shares(side: str) -> alt.Y:
    axis = alt.Axis(format="%", values=[0, 0.25, 0.5, 0.75], labels=side == "left", minExtent=LABELS)
    return alt.Y("share:Q", title=None, scale=alt.Scale(domain=[0, MOST]), axis=axis)


def even(side: str, of: str) -> Chart:
    """The even share; names of layers must differ, or Vega-Lite gives one the height of another."""
    dashed = over([{"share": 1 / EXPERTS}]).mark_rule(color=colour("soft"), strokeDash=[4, 3])
    return dashed.encode(y=shares(side)).properties(name=f"{side}_part_even_{of}")


def headed(words: str) -> Chart:
    """Words above a chart: a layer, since a title moves with the highest label of the axis."""
    text = over([{"words": words}]).mark_text(align="left", baseline="bottom", fontSize=12)
    return text.encode(text="words:N", x=alt.value(-LABELS), y=alt.value(-8))
