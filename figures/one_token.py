"""One token through an MoE layer. Of eight experts two run; their answers are weighed and added to the residual."""

from typing import Any, Literal

import altair as alt
import torch

from moedocs.charts import Chart, Size, colour, over
from moedocs.config import RoutingConfig
from moedocs.cost import Quantity, parameters
from moedocs.engine import softmax_top_k
from moedocs.lab.experiments.one_token import RUNS
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
        "One row of the router's matrix per expert: eight dot products, eight numbers.",
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
TOP_K, TRAINED_WITH, TOKENS = (1, 2, 4), 2, 4


def data() -> Rows:
    """One row per number that the token meets; `top_k` 0 means: whatever k is. Numbers per expert come first."""
    tokens = load("one-token").results["tokens"][:TOKENS]
    return [row for number, token in enumerate(tokens, 1) for row in one_token(number, token)]


def one_token(number: int, token: dict[str, Any]) -> Rows:
    logits_1E = torch.tensor([token["logits"]])
    outputs_ED = torch.tensor(token["expert_outputs"])
    residual_D = torch.tensor(token["residual"])
    rows = numbers(number, 0, "logit", token["logits"]) + numbers(number, 0, "probability", token["probabilities"])
    for top_k in TOP_K:
        routing = softmax_top_k(logits_1E, RoutingConfig(num_experts=len(outputs_ED), top_k=top_k))
        weights_E = routing.weights_TE[0]
        rows += numbers(number, top_k, "weight", weights_E.tolist())
        rows += strip(number, top_k, "sum", 0, (weights_E @ outputs_ED).tolist())
        rows += strip(number, top_k, "output", 0, (residual_D + weights_E @ outputs_ED).tolist())
    rows += strip(number, 0, "input", 0, token["input"]) + strip(number, 0, "residual", 0, token["residual"])
    for expert, output_D in enumerate(token["expert_outputs"], 1):
        rows += strip(number, 0, "answer", expert, output_D)
    return rows


def numbers(token: int, top_k: int, part: str, values_E: list[float]) -> Rows:
    return [row(token, top_k, part, expert, 0, value) for expert, value in enumerate(values_E, 1)]


def strip(token: int, top_k: int, part: str, expert: int, values_D: list[float]) -> Rows:
    return [row(token, top_k, part, expert, dimension, value) for dimension, value in enumerate(values_D, 1)]


def row(token: int, top_k: int, part: str, expert: int, dimension: int, value: float) -> dict[str, Any]:
    digits = float(f"{value:.3g}")
    return {"token": token, "top_k": top_k, "part": part, "expert": expert, "dimension": dimension, "value": digits}


def facts(rows: Rows) -> dict[str, Quantity]:
    """The model's size and, for each token, the two experts that run as trained and the weight of the first."""
    model = RUNS["auxiliary"].model
    found = {
        "width": Quantity(model.d_model, "count", "numbers per token"),
        "model": Quantity(parameters(model).total, "parameters", "all of the small model"),
    }
    for number, token in enumerate(load("one-token").results["tokens"][:TOKENS], 1):
        first, second = token["chosen"]
        found[f"token-{number}-first"] = Quantity(first + 1, "count", "the expert with the largest weight")
        found[f"token-{number}-second"] = Quantity(second + 1, "count", "the other expert")
        found[f"token-{number}-weight"] = Quantity(token["weights"][first], "ratio", "weight of the first")
    return found


def words(rows: Rows) -> Words:
    token = load("one-token").results["tokens"][0]
    weights = [(float(row["value"]), row["expert"]) for row in table(rows) if row["part"] == "weight" and row["value"]]
    ranked = sorted(weights, reverse=True)
    said = " and ".join(f"expert {expert} with weight {weight:.2f}" for weight, expert in ranked)
    experts = sum(row["part"] == "weight" for row in table(rows))
    return Words(
        f"A byte of {token['domain']}, the last of “{token['before'][-12:].lstrip()}{token['token']}”, in a small "
        f"trained model: of {experts} experts the router runs {said}. The model was trained with top-{TRAINED_WITH}; "
        f"another k here is the same layer asked differently.",
        f"A table with one row for each of {experts} experts: router logit, probability, weight, and the expert's "
        f"answer drawn as a strip of 64 cells. Above it the token's own vector as such a strip, below it the weighted "
        f"sum, the residual and their total. Steps 0 to {len(steps) - 1} uncover the parts in the order in which the "
        f"layer computes them. For the token shown the router runs {said}; the rows of the others stay pale.",
    )


def table(rows: Rows) -> Rows:
    """What a reader would want to see as numbers: logit, probability and weight of each expert, as the figure opens."""
    return [
        row
        for row in rows
        if row["token"] == 1 and row["top_k"] in (0, TRAINED_WITH) and row["part"] in ("logit", "probability", "weight")
    ]


def label(token: dict[str, Any]) -> str:
    """The token in its place: the few characters before it, and itself in brackets."""
    before = token["before"][-10:].replace("\n", "⏎")
    return f"{before}[{token['token']}] ({token['domain']})"


def chart(rows: Rows, size: Size) -> Chart:
    tokens = load("one-token").results["tokens"][:TOKENS]
    params = [
        alt.param(
            name="token",
            value=1,
            bind=alt.binding_select(
                options=list(range(1, TOKENS + 1)), labels=[label(token) for token in tokens], name="Token"
            ),
        ),
        alt.param(name="top_k", value=TRAINED_WITH, bind=alt.binding_select(options=list(TOP_K), name="Top-k")),
        alt.param(
            name="step",
            value=len(steps) - 1,
            bind=alt.binding_range(min=0, max=len(steps) - 1, step=1, name="Step"),
        ),
    ]
    place = Places(size, max(int(row["expert"]) for row in rows))
    base = (
        alt.Chart(alt.NamedData("table"))
        .transform_filter("datum.token == token && (datum.top_k == 0 || datum.top_k == top_k)")
        .transform_calculate(own="datum.part == 'weight' ? datum.value : 0")
        .transform_joinaggregate(weight="sum(own)", groupby=["expert"])
        .transform_calculate(line=place.line_of("datum.part"), first=f"({FIRST})[datum.part]")
    )
    layers = [lit(place), chosen(base, place), strips(base, place), bars(base, place), figures(base, place)]
    return (
        alt.layer(*layers, *names(place), readout(place))
        .add_params(*params)
        .properties(width=size.width, height=place.height)
        .properties(autosize=alt.AutoSizeParams(type="fit", contains="padding"))
    )


FIRST = "{input: 0, logit: 1, probability: 2, weight: 4, answer: 5, sum: 6, residual: 7, output: 7}"
COLUMNS = {"logit": "logit", "probability": "prob.", "weight": "weight"}  # head of each: wide, narrow


class Places:
    """Where things stand: px across (labels, three columns of numbers, a strip of 64 cells), lines of text down."""

    def __init__(self, size: Size, experts: int) -> None:
        self.narrow, self.experts = size.narrow, experts
        self.labels, self.column = (36, 37) if size.narrow else (92, 70)
        self.left = self.labels + 3 * self.column + 8
        self.right = size.width - 12
        self.lines = experts + 6.2
        self.height = round(25 * self.lines)

    def x(self, field: str) -> alt.X:
        return alt.X(f"{field}:Q", scale=alt.Scale(domain=[0, self.right], nice=False, zero=False), axis=None)

    def y(self, field: str) -> alt.Y:
        scale = alt.Scale(domain=[0, self.lines], reverse=True, nice=False, zero=False)
        return alt.Y(f"{field}:Q", scale=scale, axis=None)

    def line_of(self, part: str) -> str:
        """Expression for the line of a part; an expert's numbers and answer stand on the expert's own line."""
        below = {"input": 1.4, "sum": self.experts + 3.6, "residual": self.experts + 4.6, "output": self.experts + 5.6}
        return f"datum.expert > 0 ? datum.expert + 2.6 : ({below})[{part}]"

    def column_at(self, number: int) -> float:
        """Right edge of a column of numbers."""
        return self.labels + (number + 1) * self.column


def strips(base: Chart, place: Places) -> Chart:
    """Vectors as cells: hue is the sign, strength the size; what an idle expert would have answered stays pale."""
    cell = (place.right - place.left) / 64
    return (
        base.transform_filter("datum.dimension > 0 && step >= datum.first")
        .transform_calculate(
            left=f"{place.left} + (datum.dimension - 1) * {cell:.4f}",
            right=f"{place.left} + datum.dimension * {cell:.4f}",
            top="datum.line - 0.36",
            bottom="datum.line + 0.36",
            strength="min(1, abs(datum.value) / 2) * (datum.part == 'answer' && datum.weight == 0 ? 0.15 : 1)",
        )
        .mark_rect()
        .encode(
            x=place.x("left"),
            x2="right:Q",
            y=place.y("top"),
            y2="bottom:Q",
            color=alt.condition("datum.value >= 0", alt.value(colour("plus")), alt.value(colour("minus"))),
            opacity=alt.Opacity("strength:Q", scale=alt.Scale(domain=[0, 1], range=[0, 1]), legend=None),
            tooltip=[alt.Tooltip("part:N"), alt.Tooltip("dimension:Q"), alt.Tooltip("value:Q")],
        )
    )


def at_column(base: Chart, place: Places) -> Chart:
    """The numbers per expert that the step has reached, each at its column."""
    edges = {part: place.column_at(number) for number, part in enumerate(COLUMNS)}
    return base.transform_filter("datum.dimension == 0 && step >= datum.first").transform_calculate(
        edge=f"({edges})[datum.part]"
    )


def bars(base: Chart, place: Places) -> Chart:
    """Probabilities and weights as bars behind their numbers."""
    room = place.column - 6
    return (
        at_column(base, place)
        .transform_filter("datum.part != 'logit' && datum.value > 0")
        .transform_calculate(
            left=f"datum.edge - {room} * datum.value", top="datum.line - 0.36", bottom="datum.line + 0.36"
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
        .encode(x=place.x("x"), y=place.y("line"), text="words:N")
    )


def chosen(base: Chart, place: Places) -> Chart:
    """A frame around the experts that run, from the step that chooses them."""
    return (
        base.transform_filter("datum.part == 'weight' && datum.value > 0 && step >= 3")
        .transform_calculate(left="1", right=f"{place.right}", top="datum.line - 0.46", bottom="datum.line + 0.46")
        .mark_rect(filled=False, stroke=colour("active"), strokeWidth=1.5, cornerRadius=3)
        .encode(x=place.x("left"), x2="right:Q", y=place.y("top"), y2="bottom:Q")
    )


def lit(place: Places) -> Chart:
    """What the current step speaks of, on a lit ground."""
    n, edge = place.experts, place.column_at
    experts = (2.0, n + 3.1)
    boxes = [
        (0, 0, place.right, 0.9, 1.9),
        (1, edge(0) - place.column, edge(0) + 2, *experts),
        (2, edge(1) - place.column + 2, edge(1) + 2, *experts),
        (3, 0, place.labels, *experts),
        (4, edge(2) - place.column + 2, edge(2) + 2, *experts),
        (5, place.left - 3, place.right, *experts),
        (6, 0, place.right, n + 3.1, n + 4.1),
        (7, 0, place.right, n + 4.1, n + 6.1),
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
    n = place.experts
    rows = [{"x": 4, "line": 1.4, "words": "token"}] + [
        {"x": 4, "line": n + at, "words": words}
        for at, words in (
            (3.6, "sum" if place.narrow else "weighted sum"),
            (4.6, "+ h" if place.narrow else "residual"),
        )
    ]
    rows += [{"x": 4, "line": n + 5.6, "words": "= out" if place.narrow else "output"}]
    rows += [{"x": 18, "line": e + 2.6, "words": str(e) if place.narrow else f"expert {e}"} for e in range(1, n + 1)]
    heads = [
        {"x": place.column_at(number) - 3, "line": 2.55, "words": words if place.narrow else part}
        for number, (part, words) in enumerate(COLUMNS.items())
    ]
    size = 11 if place.narrow else 12
    squares = [{"x": 10, "line": e + 2.6, "hue": colour(f"expert-{e - 1}")} for e in range(1, n + 1)]
    answers = [{"x": place.left, "line": 2.55, "words": "answer"}]

    def text(values: list[dict[str, Any]], align: Literal["left", "right"], tone: str = "ink") -> Chart:
        return (
            over(values)
            .mark_text(align=align, baseline="middle", fontSize=size, color=colour(tone))
            .encode(x=place.x("x"), y=place.y("line"), text="words:N")
        )

    hues = (
        over(squares)
        .mark_square(size=70, opacity=1)
        .encode(x=place.x("x"), y=place.y("line"), color=alt.Color("hue:N", scale=None))
    )
    return [hues, text(rows, "left"), text(heads, "right", "soft"), text(answers, "left", "soft")]


def readout(place: Places) -> Chart:
    """What is used and what is not, in words."""
    experts = place.experts
    weights = "of expert weights" if place.narrow else "of the expert weights are used for this token"
    words = f"top_k + ' of {experts} experts run: ' + format(top_k / {experts}, '.0%') + ' {weights}'"
    return (
        over([{"x": 4, "line": 0.4}])
        .transform_calculate(words=words)
        .mark_text(align="left", baseline="middle", fontSize=13, fontWeight=600)
        .encode(x=place.x("x"), y=place.y("line"), text="words:N")
        .properties(name="readout")
    )
