"""One token through an MoE layer. Two of its experts run; their answers are weighted and added to the residual."""

from typing import Any, Literal

import altair as alt
import torch

from moedocs.charts import Chart, Size, colour, over
from moedocs.config import TransformerConfig
from moedocs.cost import Quantity, parameters
from moedocs.engine import softmax_top_k
from moedocs.lab.experiments.one_token import NUM_EXPERTS, RUNS
from moedocs.lab.records import load
from moedocs.site.figure import Rows, Step, Words

title = "One token through an MoE layer"
badge = "trained model"
records = ("one-token",)
sources = ("shazeer-2017", "mixtral-2024")
steps = (
    Step(
        "The token",
        "A byte of real text has become a vector of 64 numbers, drawn as a strip: one cell a number, above zero in one "
        "colour, below zero in the other. The layer normalises it first.",
        r"x \in \mathbb{R}^{64}",
    ),
    Step(
        "Router logits",
        "One row of the router's matrix per expert: a dot product each, a number each.",
        r"\router{\ell} = W_r\,x",
    ),
    Step(
        "Probabilities",
        "Softmax turns them into shares of one.",
        r"\router{p_i} = e^{\ell_i} \big/ \textstyle\sum_j e^{\ell_j}",
    ),
    Step(
        "Top-k",
        "Only the k most probable experts are chosen. The others stay idle for this token.",
        r"\active{\mathcal{T}} = \operatorname{top\text{-}k}(p)",
    ),
    Step(
        "Weights",
        "The chosen probabilities, divided by their sum, so that they add up to one again.",
        r"\active{g_i} = p_i \big/ \textstyle\sum_{j \in \mathcal{T}} p_j",
    ),
    Step(
        "The experts run",
        "Each chosen expert, a small network of its own, answers with a vector. What the idle ones would have said is "
        "never computed; it is drawn pale here because our engine, asked for it, can tell.",
        r"\active{y_i} = \mathrm{expert}_i(x), \quad i \in \mathcal{T}",
    ),
    Step(
        "Weighted sum",
        "The answers are scaled by their weights and added: one vector again.",
        r"y = \textstyle\sum_{i \in \mathcal{T}} \active{g_i\, y_i}",
    ),
    Step(
        "Residual",
        "The sum is added to what came in, before its normalisation. That is all an MoE layer does to a token.",
        r"h' = h + y",
    ),
)
OPENS_WITH, TOP_K, TRAINED_WITH = 8, (1, 2, 4), 2


def data() -> Rows:
    """One row per number that the token meets; `top_k` 0 means: whatever k is. The chart adds up sum and output."""
    models = load("one-token").results["models"]
    return [
        {"num_experts": num_experts, "token": number} | one
        for num_experts in NUM_EXPERTS
        for number, trace in enumerate(models[f"experts-{num_experts}"]["traces"], 1)
        for one in one_token(trace)
    ]


def one_token(trace: dict[str, Any]) -> Rows:
    rows = numbers(0, "logit", trace["logits"]) + numbers(0, "probability", trace["probabilities"])
    logits_1E = torch.tensor([trace["logits"]])
    for top_k in TOP_K:
        routing = softmax_top_k(logits_1E, top_k)
        rows += numbers(top_k, "weight", routing.weights_TE[0].tolist())
    rows += strip("input", 0, trace["input"]) + strip("residual", 0, trace["residual"])
    for expert, output_D in enumerate(trace["expert_outputs"], 1):
        rows += strip("answer", expert, output_D)
    return rows


def numbers(top_k: int, part: str, values_E: list[float]) -> Rows:
    return [row(top_k, part, expert, 0, value) for expert, value in enumerate(values_E, 1)]


def strip(part: str, expert: int, values_D: list[float]) -> Rows:
    return [row(0, part, expert, dimension, value) for dimension, value in enumerate(values_D, 1)]


def row(top_k: int, part: str, expert: int, dimension: int, value: float) -> dict[str, Any]:
    return {"top_k": top_k, "part": part, "expert": expert, "dimension": dimension, "value": float(f"{value:.3g}")}


def facts(rows: Rows) -> dict[str, Quantity]:
    """The models' sizes and, as the figure opens, each token's two experts and the weight of the first."""
    found = {"width": Quantity(model(OPENS_WITH).d_model, "count", "numbers per token")}
    for num_experts in NUM_EXPERTS:
        size = parameters(model(num_experts))
        found[f"model-{num_experts}"] = Quantity(size.total, "parameters", f"all, with {num_experts} experts")
        found[f"active-{num_experts}"] = Quantity(size.active, "parameters", f"one token's, of {num_experts} experts")
    for number, trace in enumerate(load("one-token").results["models"][f"experts-{OPENS_WITH}"]["traces"], 1):
        first, second = trace["chosen"]
        found[f"token-{number}-first"] = Quantity(first + 1, "count", "the expert with the largest weight")
        found[f"token-{number}-second"] = Quantity(second + 1, "count", "the other expert")
        found[f"token-{number}-weight"] = Quantity(trace["weights"][first], "ratio", "weight of the first")
        found[f"token-{number}-sum"] = Quantity(
            sum_of(trace), "share", "length of the weighted sum over the residual's"
        )
    models = load("one-token").results["models"].values()
    sums = [sum_of(trace) for one in models for trace in one["traces"]]
    found["largest-sum"] = Quantity(max(sums), "share", "the same, the largest of all tokens in all models")
    return found


def sum_of(trace: dict[str, Any]) -> float:
    """How long the weighted sum is beside the residual that it is added to."""
    residual_D = torch.tensor(trace["residual"])
    sum_D = torch.tensor(trace["weights"]) @ torch.tensor(trace["expert_outputs"])
    return float(sum_D.norm() / residual_D.norm())


def model(num_experts: int) -> TransformerConfig:
    return RUNS[f"experts-{num_experts}"].model


def words(rows: Rows) -> Words:
    token = load("one-token").results["tokens"][0]
    weights = [(float(row["value"]), row["expert"]) for row in table(rows) if row["part"] == "weight" and row["value"]]
    ranked = sorted(weights, reverse=True)
    said = " and ".join(f"expert {expert} with weight {weight:.2f}" for weight, expert in ranked)
    experts = sum(row["part"] == "weight" for row in table(rows))
    return Words(
        f"As it opens: a byte of {token['domain']}, the last of “{token['before'][-12:].lstrip()}{token['token']}”, in "
        f"a small trained model: of {experts} experts the router runs {said}. It was trained with top-{TRAINED_WITH}; "
        f"another k here is the same layer asked differently, another N another model, trained in the same way.",
        f"A table with one row for each of {experts} experts: router logit, probability, weight, and the expert's "
        f"answer drawn as a strip of 64 cells. Above it the token's own vector as such a strip, below it the weighted "
        f"sum, the residual and their total. {len(steps)} steps uncover the parts in the order in which the layer "
        f"computes them. For the token shown the router runs {said}; the rows of the others stay pale.",
    )


def table(rows: Rows) -> Rows:
    """What a reader would want to see as numbers: logit, probability and weight of each expert, as the figure opens."""
    return [
        row
        for row in rows
        if (row["num_experts"], row["token"]) == (OPENS_WITH, 1)
        and row["top_k"] in (0, TRAINED_WITH)
        and row["part"] in ("logit", "probability", "weight")
    ]


def label(token: dict[str, Any]) -> str:
    """The token in its place: the few characters before it, and itself in brackets."""
    before = token["before"][-10:].replace("\n", "⏎")
    return f"{before}[{token['token']}] ({token['domain']})"


def chart(rows: Rows, size: Size) -> Chart:
    place = Places(size)
    base = (
        alt.Chart(alt.NamedData("table"))
        .transform_filter(
            "datum.num_experts == num_experts && datum.token == token && (datum.top_k == 0 || datum.top_k == top_k)"
        )
        .transform_calculate(own="datum.part == 'weight' ? datum.value : 0")
        .transform_joinaggregate(weight="sum(own)", groupby=["expert"])
    )
    layers = [lit(place), chosen(base, place), vectors(base, place), added(base, place)]
    layers += [bars(base, place), figures(base, place), *names(place), readout(place)]
    return (
        alt.layer(*layers)
        .add_params(*params())
        .properties(width=size.width, height=place.height)
        .properties(autosize=alt.AutoSizeParams(type="fit", contains="padding"))
    )


def params() -> list[alt.Parameter]:
    """What a reader sets; `row` is the height of an expert's row and `half` that of half a cell in it."""
    tokens = load("one-token").results["tokens"]
    numbers, labels = list(range(1, len(tokens) + 1)), [label(token) for token in tokens]
    last = len(steps) - 1
    return [
        alt.param(name="token", value=1, bind=alt.binding_select(options=numbers, labels=labels, name="Token")),
        alt.param(
            name="num_experts",
            value=OPENS_WITH,
            bind=alt.binding_select(options=list(NUM_EXPERTS), name="Experts N"),
        ),
        alt.param(name="top_k", value=TRAINED_WITH, bind=alt.binding_select(options=list(TOP_K), name="Top-k")),
        alt.param(name="step", value=last, bind=alt.binding_range(min=0, max=last, step=1, name="Step")),
        alt.param(name="row", expr=f"{EXPERTS} / num_experts"),
        alt.param(name="half", expr="min(row / 2 - 2.5, 18)"),
    ]


COLUMNS = {"logit": "logit", "probability": "prob.", "weight": "weight"}  # head of each: wide, narrow
FIRST = {"input": 0, "logit": 1, "probability": 2, "weight": 4, "answer": 5, "sum": 6, "residual": 7, "output": 7}
# Down the picture, in px: the middle of each line of text, and all the experts' rows together, however many they are.
READOUT, INPUT, HEADS, ABOVE, EXPERTS, LINE = 10, 36, 62, 74, 248, 25
BELOW = ABOVE + EXPERTS
MIDDLE = {"input": INPUT} | {part: BELOW + (n + 0.6) * LINE for n, part in enumerate(("sum", "residual", "output"))}
ROW = f"{ABOVE} + (datum.expert - 0.5) * row"


class Places:
    """Where things stand across, in px: labels, three columns of numbers and the edges between them, 64 cells."""

    def __init__(self, size: Size) -> None:
        self.narrow = size.narrow
        self.edges = (36, 69, 105, 147) if size.narrow else (92, 162, 232, 302)
        self.left = self.edges[-1] + 8
        self.right = size.width - 12
        self.height = round(BELOW + 3.2 * LINE)

    def x(self, field: str) -> alt.X:
        return alt.X(f"{field}:Q", scale=alt.Scale(domain=[0, self.right], nice=False, zero=False), axis=None)

    def y(self, field: str) -> alt.Y:
        scale = alt.Scale(domain=[0, self.height], reverse=True, nice=False, zero=False)
        return alt.Y(f"{field}:Q", scale=scale, axis=None)


def vectors(base: Chart, place: Places) -> Chart:
    """The vectors that the layer is given or computes whole; what an idle expert would have answered stays pale."""
    return cells(base.transform_filter("datum.dimension > 0"), place)


def added(base: Chart, place: Places) -> Chart:
    """The weighted sum of the answers, and with the residual the output, added up for whatever k is."""
    answer = "datum.part == 'answer' ? datum.weight * datum.value"
    sums = (
        base.transform_filter("datum.part == 'answer' || datum.part == 'residual'")
        .transform_calculate(weighted=f"{answer} : 0", whole=f"{answer} : datum.value")
        .transform_aggregate(sum="sum(weighted)", output="sum(whole)", groupby=["dimension"])
        .transform_fold(["sum", "output"], as_=["part", "value"])
        .transform_calculate(expert="0", weight="1")
    )
    return cells(sums, place)


def cells(strips: Chart, place: Places) -> Chart:
    """Vectors as cells, those that the step has reached: hue is the sign, strength the size."""
    width = (place.right - place.left) / 64
    return (
        strips.transform_filter(f"step >= ({FIRST})[datum.part]")
        .transform_calculate(
            left=f"{place.left} + (datum.dimension - 1) * {width:.4f}",
            right=f"{place.left} + datum.dimension * {width:.4f}",
            middle=f"datum.expert > 0 ? {ROW} : ({MIDDLE})[datum.part]",
            strength="min(1, abs(datum.value) / 2) * (datum.part == 'answer' && datum.weight == 0 ? 0.15 : 1)",
        )
        .transform_calculate(
            top="datum.middle - (datum.expert > 0 ? half : 9)", bottom="datum.middle + (datum.expert > 0 ? half : 9)"
        )
        .mark_rect()
        .encode(
            x=place.x("left"),
            x2="right:Q",
            y=place.y("top"),
            y2="bottom:Q",
            color=alt.condition("datum.value >= 0", alt.value(colour("plus")), alt.value(colour("minus"))),
            opacity=alt.Opacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None),
            tooltip=[alt.Tooltip("part:N"), alt.Tooltip("dimension:Q"), alt.Tooltip("value:Q", format=".3~g")],
        )
    )


def at_column(base: Chart, place: Places) -> Chart:
    """The numbers per expert that the step has reached, each at its column."""
    edges = dict(zip(COLUMNS, place.edges[1:], strict=True))
    return base.transform_filter(f"datum.dimension == 0 && step >= ({FIRST})[datum.part]").transform_calculate(
        edge=f"({edges})[datum.part]", middle=ROW
    )


def bars(base: Chart, place: Places) -> Chart:
    """Probabilities and weights as bars behind their numbers."""
    room = place.edges[2] - place.edges[1] - 6
    return (
        at_column(base, place)
        .transform_filter("datum.part != 'logit' && datum.value > 0")
        .transform_calculate(
            left=f"datum.edge - {room} * datum.value", top="datum.middle - half", bottom="datum.middle + half"
        )
        .mark_rect(opacity=0.35)
        .encode(
            x=place.x("left"),
            x2="edge:Q",
            y=place.y("top"),
            y2="bottom:Q",
            color=alt.condition("datum.part == 'weight'", alt.value(colour("active")), alt.value(colour("router"))),
        )
    )


def figures(base: Chart, place: Places) -> Chart:
    """The numbers themselves; instead of a weight, an expert that was not chosen is called idle."""
    number = "format(datum.value, datum.part == 'logit' ? '.1f' : '.2f')"
    return (
        at_column(base, place)
        .transform_calculate(
            words=f"datum.part == 'weight' && datum.value == 0 ? 'idle' : {number}", x="datum.edge - 3"
        )
        .mark_text(align="right", baseline="middle", fontSize=11 if place.narrow else 12)
        .encode(x=place.x("x"), y=place.y("middle"), text="words:N")
    )


def chosen(base: Chart, place: Places) -> Chart:
    """A frame around the experts that run, from the step that chooses them."""
    edge = "min(row / 2 - 1, half + 5)"
    return (
        base.transform_filter("datum.part == 'weight' && datum.value > 0 && step >= 3")
        .transform_calculate(left="1", right=f"{place.right}", top=f"{ROW} - {edge}", bottom=f"{ROW} + {edge}")
        .mark_rect(filled=False, stroke=colour("active"), strokeWidth=1.5, cornerRadius=3)
        .encode(x=place.x("left"), x2="right:Q", y=place.y("top"), y2="bottom:Q")
    )


def lit(place: Places) -> Chart:
    """What the current step speaks of, on a lit ground."""
    half, experts = LINE / 2, (HEADS - LINE / 2, BELOW + 1)
    labels, logit, probability, weight = place.edges
    boxes = [
        (0, 0, place.right, INPUT - half, INPUT + half),
        (1, labels, logit + 2, *experts),
        (2, logit + 2, probability + 2, *experts),
        (3, 0, labels, *experts),
        (4, probability + 2, weight + 2, *experts),
        (5, place.left - 3, place.right, *experts),
        (6, 0, place.right, MIDDLE["sum"] - half, MIDDLE["sum"] + half),
        (7, 0, place.right, MIDDLE["residual"] - half, MIDDLE["output"] + half),
    ]
    values = [dict(zip(("at", "left", "right", "top", "bottom"), box, strict=True)) for box in boxes]
    return (
        over(values)
        .transform_filter("datum.at == step")
        .mark_rect(color=colour("grid"), opacity=0.6, cornerRadius=3)
        .encode(x=place.x("left"), x2="right:Q", y=place.y("top"), y2="bottom:Q")
    )


def names(place: Places) -> list[Chart]:
    """Labels of lines and heads of columns, and each expert's own hue beside its name."""
    lines = {"input": "token", "sum": "weighted sum", "residual": "residual", "output": "output"}
    if place.narrow:
        lines |= {"sum": "sum", "residual": "+ h", "output": "= out"}
    rows = [{"x": 4, "middle": MIDDLE[part], "words": words} for part, words in lines.items()]
    heads = [
        {"x": edge - 3, "middle": HEADS, "words": words if place.narrow else part}
        for edge, (part, words) in zip(place.edges[1:], COLUMNS.items(), strict=True)
    ]
    experts = [
        {"x": 18, "expert": e, "words": str(e) if place.narrow else f"expert {e}", "hue": colour(f"expert-{e - 1}")}
        for e in range(1, max(NUM_EXPERTS) + 1)
    ]
    shown = over(experts).transform_filter("datum.expert <= num_experts").transform_calculate(middle=ROW)
    hues = shown.mark_square(size=70, opacity=1, xOffset=-8).encode(
        x=place.x("x"), y=place.y("middle"), color=alt.Color("hue:N", scale=None)
    )

    def text(labels: Chart, align: Literal["left", "right"], tone: str = "ink") -> Chart:
        size = 11 if place.narrow else 12
        return labels.mark_text(align=align, baseline="middle", fontSize=size, color=colour(tone)).encode(
            x=place.x("x"), y=place.y("middle"), text="words:N"
        )

    answers = [{"x": place.left, "middle": HEADS, "words": "answer"}]
    return [
        hues,
        text(shown, "left"),
        text(over(rows), "left"),
        text(over(heads), "right", "soft"),
        text(over(answers), "left", "soft"),
    ]


def readout(place: Places) -> Chart:
    """What is used and what is not, in words."""
    weights = "of expert weights" if place.narrow else "of the expert weights are used for this token"
    run = "top_k + ' of ' + num_experts + ' experts run' + (top_k == 1 ? 's' : '')"
    return (
        over([{"x": 4, "middle": READOUT}])
        .transform_calculate(words=f"{run} + ': ' + format(top_k / num_experts, '.3~p') + ' {weights}'")
        .mark_text(align="left", baseline="middle", fontSize=12 if place.narrow else 13, fontWeight=600)
        .encode(x=place.x("x"), y=place.y("middle"), text="words:N")
        .properties(name="readout")
    )
