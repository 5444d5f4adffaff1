"""Balance over what? The wider the batch that an even load is asked of, the more an expert may know of its text."""

from itertools import product
from statistics import mean
from typing import Any

import altair as alt
import torch

from moedocs.charts import Chart, Size, colour
from moedocs.cost import Quantity
from moedocs.lab.records import load
from moedocs.site.figure import Rows, Words

title = "Balance over what?"
badge = "trained model"
records = ("granularity",)
sources = ("granularity-2025", "switch-2021")

EXPERTS, LAYERS, LOOKS = 8, 4, 10
TEXTS = {"one kind": "single", "four kinds": "mixed"}  # of text in a sequence
SCOPES = {"sequence": "sequence", "micro-batch": "micro-batch", "step": "global", "none": "none"}
OPENS_WITH = {"text": "one kind", "given": "nothing", "layer": "mean"}
HIGHEST = (0.13, 0.18)  # where the panels of the first row end: for the mean of the layers, and for one of them
SHARES = ("in_sequence", "overall")
GIVEN = ("nothing", "the byte")


def data() -> Rows:
    """One row per kind of sequence, tokens balanced over, seed, layer (or their mean), and step looked at."""
    found = load("granularity").results
    return [
        {"text": text, "over": scope, "seed": run["seed"], "layer": layer, "look": look + 1, "step": step}
        | {name: of(values[look], layer) for name, values in measures(run).items()}
        | {"loss": run["validation_loss"][look]}
        for text, scope in product(TEXTS, SCOPES)
        for run in found["arms"][f"{TEXTS[text]}/{SCOPES[scope]}"]
        for layer in ("mean", *map(str, range(1, 1 + LAYERS)))
        for look, step in enumerate(found["steps"])
    ]


def measures(run: dict[str, Any]) -> dict[str, Any]:
    """What is drawn of a training, by look and layer; the shuffled ones are the control."""
    names = {"told": "corrected", "shuffled": "shuffled", "told_given": "given_byte"}
    told = {column: run["information"][name] for column, name in names.items()}
    told["shuffled_given"] = run["information"]["given_byte_shuffled"]
    return told | {"in_sequence": run["sequence_share"], "overall": run["largest_share"]}


def of(values_L: list[float], layer: str) -> float:
    return mean(values_L) if layer == "mean" else values_L[int(layer) - 1]


def seeds(rows: Rows, column: str, scope: str, look: int = LOOKS) -> list[float]:
    """A column as the figure opens, one value per seed."""
    wanted = {"text": OPENS_WITH["text"], "over": scope, "layer": OPENS_WITH["layer"], "look": look}
    return [row[column] for row in rows if wanted.items() <= row.items()]


def facts(rows: Rows) -> dict[str, Quantity]:
    """Numbers of the page that the record holds only in parts."""
    settings = load("granularity").settings["shared"]
    length, sequences = settings["training.sequence_length"], settings["training.sequences"]
    losses = [seeds(rows, "loss", scope) for scope in SCOPES]
    told = [mean(seeds(rows, "told", "sequence", look)) for look in range(1, 1 + LOOKS)]
    most = told.index(max(told))
    return {
        "tokens-sequence": Quantity(length, "count", "bytes of a sequence"),
        "tokens-micro-batch": Quantity(length * sequences // settings["training.micro_batches"], "count", "bytes"),
        "tokens-step": Quantity(length * sequences, "count", "bytes of a step"),
        "means-apart": Quantity(apart([mean(loss) for loss in losses]), "ratio", "nats between the means of scopes"),
        "seeds-apart": Quantity(max(map(apart, losses)), "ratio", "nats between seeds of one scope, at most"),
        "peak": Quantity(told[most], "ratio", "told per sequence, mean of seeds, at its highest"),
        "peak-step": Quantity(load("granularity").results["steps"][most], "count", "the step of that look"),
        "fair": Quantity(fair_share(length), "share", "by chance, of the choices of one sequence, the largest share"),
        "shuffled": Quantity(mean(seeds(rows, "shuffled", "step")), "ratio", "told of shuffled kinds, per step"),
    }


def fair_share(num_tokens: int, draws: int = 2000) -> float:
    """The busiest expert's share of so many tokens' choices where all experts are equally likely, mean of draws."""
    settings = load("granularity").settings["shared"]
    size, generator = (draws, num_tokens, settings["model.routing.num_experts"]), torch.Generator().manual_seed(0)
    index_RN = torch.rand(size, generator=generator).topk(settings["model.routing.top_k"]).indices.flatten(1)
    counts_RE = torch.zeros(draws, size[-1]).scatter_add_(1, index_RN, torch.ones(index_RN.shape))
    return float((counts_RE.amax(1) / counts_RE.sum(1)).mean())


def apart(values: list[float]) -> float:
    return max(values) - min(values)


def words(rows: Rows) -> Words:
    told = {scope: spread(seeds(rows, "told", scope), ".3f") for scope in SCOPES}
    inside, overall = (
        {s: f"{mean(seeds(rows, column, s)):.1%}" for s in SCOPES} for column in ("in_sequence", "overall")
    )
    stated = facts(rows)
    return Words(
        f"Balanced within every sequence, an expert tells {told['sequence']} of the kind of text that it reads (0 is "
        f"nothing, 1 all; mean and range of three seeds); within micro-batches {told['micro-batch']}, over the whole "
        f"step {told['step']}, without balancing {told['none']}. All three balance the text as a whole about equally: "
        f"its busiest expert has {overall['sequence']}, {overall['micro-batch']} and {overall['step']}. What this does "
        f"not show: a better model. The means of the losses lie {stated['means-apart'].value:.3f} nats apart, seeds of "
        f"one setting up to {stated['seeds-apart'].value:.3f}.",
        f"Four columns, for models balanced over each sequence, each micro-batch, the whole step, and not at all. "
        f"First row: what an expert tells of the kind of text, at {LOOKS} looks from step 0 on, a thin line per seed "
        f"and a thick one for their mean. All rise at first. Then the line of the sequence falls back below where it "
        f"began, that of the micro-batch falls part of the way, those of the step and of no balancing stay up. A "
        f"dashed line near zero is the control, kinds of text dealt out anew. Second row: the busiest expert's share, "
        f"within a sequence {listed(inside)}, over all the text {listed(overall)}; an even share is {1 / EXPERTS:.1%}. "
        f"Third row: the validation loss of each seed, with no order among the columns.",
    )


def spread(values: list[float], form: str) -> str:
    return f"{mean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def listed(values: dict[str, str]) -> str:
    """In the order of the columns."""
    *most, last = values.values()
    return f"{', '.join(most)} and {last}"


def chart(rows: Rows, size: Size) -> Chart:
    labels = {"text": "A sequence has", "given": "Known besides", "layer": "Layer"}
    options = {"text": TEXTS, "given": GIVEN, "layer": dict.fromkeys(row["layer"] for row in rows)}
    params = [
        alt.param(name=name, value=value, bind=alt.binding_select(options=list(options[name]), name=labels[name]))
        for name, value in OPENS_WITH.items()
    ]
    column, gap, _ = columns(size)
    strips = [one.properties(width=4 * column + 3 * gap) for one in (busiest(size), losses(size))]
    parts = [information(rows, size), *strips]
    return alt.vconcat(*parts, spacing=16, data=alt.NamedData("table"), params=[param.param for param in params])


def columns(size: Size) -> tuple[int, int, int]:
    """Width of a column, the gap beside it, and how far left of its middle dots stand to leave room for their mean."""
    return (60, 6, 8) if size.narrow else (138, 14, 0)


def information(rows: Rows, size: Size) -> Chart:
    """What an expert tells of the kind of text, over the steps, in a small chart for each column."""
    last, (column, gap, _) = max(row["step"] for row in rows), columns(size)
    base = alt.Chart().transform_filter("datum.text == text && datum.layer == layer")
    base = base.transform_calculate(
        tells="given == 'the byte' ? datum.told_given : datum.told",
        control="given == 'the byte' ? datum.shuffled_given : datum.shuffled",
    )
    means = base.transform_aggregate(tells="mean(tells)", control="mean(control)", groupby=["over", "step"])
    ends = base.transform_filter(f"datum.look == {LOOKS}")
    x = alt.X(
        "step:Q",
        title=None,
        scale=alt.Scale(type="sqrt", domain=[0, last], nice=False),
        axis=alt.Axis(values=[0, 40, last], labelFlush=True, labelOverlap=False),
    )
    highest = alt.Scale(domainMin=0, domainMax=alt.expr("layer == 'mean' ? {} : {}".format(*HIGHEST)), nice=False)
    y = alt.Y(
        "tells:Q",
        title=None,
        scale=highest,
        axis=alt.Axis(values=[0, 0.05, 0.1, 0.15], format=".2f", labelOverlap=False),
    )
    told = means.transform_filter(f"datum.step == {last}").transform_calculate(
        words="[datum.over, format(datum.tells, '.3f')]"
    )
    named = means.transform_filter(f"datum.step == {last} && datum.over == 'none'")
    tips = [alt.Tooltip("seed:N"), alt.Tooltip("step:Q"), alt.Tooltip("tells:Q", title="told", format=".3f")]
    return (
        alt.layer(
            means.mark_line(color=colour("soft"), strokeDash=[3, 3], strokeWidth=1.5).encode(x=x, y="control:Q"),
            base.mark_line(color=colour("router"), strokeWidth=1, opacity=0.6).encode(x=x, y=y, detail="seed:N"),
            means.mark_line(color=colour("router"), strokeWidth=2.5).encode(x=x, y=y),
            ends.mark_point(color=colour("router"), size=24, opacity=1).encode(x=x, y=y),
            base.mark_point(size=120, opacity=0).encode(x=x, y=y, tooltip=tips),
            named.mark_text(align="right", dy=-8, fontSize=11, color=colour("soft")).encode(
                text=alt.datum("shuffled"), x=alt.value("width"), y="control:Q"
            ),
            told.mark_text(
                align="left", baseline="bottom", fontSize=11 if size.narrow else 12, lineHeight=15, fontWeight=500
            )
            .encode(text="words:N", x=alt.value(0), y=alt.value(-22))
            .properties(name="readout"),
        )
        .properties(width=column, height=124)
        .facet(
            column=alt.Column("over:N", sort=list(SCOPES), header=alt.Header(labels=False), title=None),
            spacing=gap,
            bounds="flush",
            data=alt.NamedData("table"),
        )
        .properties(title="What an expert tells of the kind of text" + ("" if size.narrow else ", over training"))
    )


def busiest(size: Size) -> Chart:
    """The busiest expert's share: in one sequence, and over all the text."""
    scale, even = alt.Scale(domain=[0.07, 0.45], nice=False), alt.datum(1 / EXPERTS)
    y = alt.Y(title=None, scale=scale, axis=alt.Axis(format=".0%", values=[0.2, 0.3, 0.4], grid=True))
    once = shown().transform_aggregate(rows="count()")
    line = once.mark_rule(color=colour("soft"), strokeDash=[4, 3]).encode(y=even).properties(name="part_even")
    named = once.mark_text(align="right", dy=9, fontSize=11, color=colour("soft"))
    inside, overall = (dots(size, y, name, axis=None, filled=name == "in_sequence") for name in SHARES)
    return alt.layer(
        line, named.encode(x=alt.value("width"), y=even, text=alt.datum("even share")), inside, overall
    ).properties(
        height=110,
        title="Busiest expert: ● in a sequence, ○ in all"
        if size.narrow
        else "Share of the busiest expert: ● within a sequence, ○ over all the text",
    )


def losses(size: Size) -> Chart:
    """The validation loss of each seed."""
    y = alt.Y(title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=3, format=".2f", grid=True))
    names = alt.Axis(labelAngle=0, ticks=False, domain=False, labelFontSize=11 if size.narrow else 12)
    return dots(size, y, "loss", axis=names).properties(height=80, title="Validation loss, nats per byte")


def dots(size: Size, y: alt.Y, column: str, *, axis: alt.Axis | None, filled: bool = True) -> Chart:
    """A dot per seed, side by side, a line at their mean, and its value."""
    width, gap, aside = columns(size)
    hue, form, name = ("ink", ".3f", "part_loss") if column == "loss" else ("active", ".0%", f"part_load_{column}")
    band = alt.Scale(domain=list(SCOPES), paddingInner=gap / (width + gap), paddingOuter=0)
    beside = alt.Scale(type="point", range=[width / 2 - aside - 9, width / 2 - aside + 9], padding=0)
    x, y = alt.X("over:N", title=None, scale=band, axis=axis), y.copy()
    y.shorthand = f"{column}:Q"
    means = shown().transform_aggregate(groupby=["over"], **{column: f"mean({column})"}).encode(x=x, y=y)
    tips = [alt.Tooltip("over:N"), alt.Tooltip("seed:N"), alt.Tooltip(f"{column}:Q", format=".3f")]
    return alt.layer(
        shown()
        .mark_point(filled=filled, color=colour(hue), size=34, opacity=1)
        .encode(x=x, y=y, xOffset=alt.XOffset("seed:N", scale=beside), tooltip=tips),
        means.mark_tick(color=colour(hue), thickness=2, width=24, xOffset=-aside),
        means.mark_text(align="left", dx=15, fontSize=11, xOffset=-aside).encode(
            text=alt.Text(f"{column}:Q", format=form)
        ),
    ).properties(name=name)


def shown() -> Chart:
    """The last look at the models that the controls choose."""
    return alt.Chart().transform_filter(f"datum.text == text && datum.layer == layer && datum.look == {LOOKS}")
