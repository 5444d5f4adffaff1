"""Two trainings side by side, under two balancing rules: whom the router chose, how sure it was, what it cost."""

from functools import cache
from typing import Any

import altair as alt

from moedocs.charts import Chart, Size
from moedocs.charts.two_runs import EXPERTS, LOOKS, F, P, measured, side_by_side
from moedocs.cost import Quantity
from moedocs.lab.records import load
from moedocs.lite import learning
from moedocs.site.figure import Rows, Step, Words

title = "Collapse lab: two rules side by side"
badge = "trained model"
records = ("balance", "granularity")
sources = ("shazeer-2017", "switch-2021", "st-moe-2022", "expert-choice-2022", "loss-free-2024", "deepseek-v3-2024")

WEIGHTS, LAYERS, NOTHING = (0.0001, 0.001, 0.01, 0.1, 1.0), 4, [None] * EXPERTS
RULES = {  # what the select says, and a phone's heading
    "none": ("no balancing", "no balancing"),
    "auxiliary": ("auxiliary loss", "auxiliary loss"),
    "z": ("z-loss", "z-loss"),
    "bias": ("bias correction", "bias correction"),
    "expert-choice": ("expert choice", "expert choice"),
    "importance+load": ("importance and load losses", "importance, load"),
    "constant": ("the loss found in tutorials", "loss of tutorials"),
    "sigmoid-none": ("sigmoid, no balancing", "sigmoid, none"),
    "sigmoid-auxiliary": ("sigmoid, auxiliary loss 0.01", "sigmoid, auxiliary"),
    "sigmoid-bias": ("sigmoid, bias correction", "sigmoid, bias"),
}
SCOPES = {  # the same, of trainings of their own, all with two experts a token
    "over-sequence": ("auxiliary loss in each sequence", "in each sequence"),
    "over-micro-batch": ("auxiliary loss in each micro-batch", "in micro-batches"),
    "over-step": ("auxiliary loss over the whole step", "over the step"),
    "over-none": ("no balancing, beside those", "over nothing"),
}
ARMS = {"over-sequence": "sequence", "over-micro-batch": "micro-batch", "over-step": "global", "over-none": "none"}
DRAWN, DRAWN_SCOPES = (0, 5, 10, 20, 40, 120, 200, 300), (0, 5, 10, 20, 40, 160, 240, 400)
OPENS_WITH = {"left": "none", "right": "auxiliary", "weight": 0.01, "top_k": 1, "layer": 2, "seed": 2}
presets = {
    "Compare": {
        "without and with an auxiliary loss": OPENS_WITH,
        "nothing, and the loss found in tutorials": OPENS_WITH | {"right": "constant"},
        "nothing, and a z-loss": OPENS_WITH | {"right": "z"},
        "an auxiliary loss, and bias correction": OPENS_WITH | {"left": "auxiliary", "right": "bias"},
        "nothing, and expert choice": OPENS_WITH | {"right": "expert-choice"},
        "softmax and sigmoid, neither balanced": OPENS_WITH | {"right": "sigmoid-none"},
        "balance in each sequence, and over the step": OPENS_WITH
        | {"left": "over-sequence", "right": "over-step", "top_k": 2},
    }
}
steps = (
    Step("Before training", "Both begin from the same weights. The router is random, and already some experts lead."),
    Step("After 10 steps", "If the lines fan out, they do it now, while the experts still know next to nothing."),
    Step("After 40 steps", "A rule that works has drawn them together; where none does, the leader has been found."),
    Step("Midway", "What follows is slow. Compare f, the choices, with P, what the router would have liked."),
    Step("At the end", "Look at the busiest share and its range over seeds first, and only then at the loss."),
)


@cache
def result() -> dict[str, Any]:
    return load("balance").results


def data() -> Rows:
    """One row per rule, weight, k, seed, layer and step: f and P of each expert, entropies and losses."""
    rows = [row for arm, runs in result()["arms"].items() for run in runs for row in of_run(arm, run)]
    return rows + [row for rule, arm in ARMS.items() for row in of_scope(rule, arm)]


def of_run(arm: str, run: dict[str, Any]) -> Rows:
    name, _, top_k = arm.rpartition("/k")
    rule, _, weight = name.rpartition("-") if "auxiliary-" in name else (name, "", "")
    several = rule == "auxiliary"  # weights: that of the sigmoid's is in its name
    of = {"rule": rule, "weight": float(weight) if several else None, "top_k": int(top_k), "seed": run["seed"]}
    return [
        of | at_look(run, step) | {"layer": layer + 1} | of_layer(run, step, layer)
        for step in (DRAWN if rule in RULES else ())
        for layer in range(LAYERS)
    ]


def at_look(run: dict[str, Any], step: int) -> dict[str, Any]:
    """Of the whole model, rounded as all here is, so that the rules fit into one table."""
    look = result()["steps"].index(step)
    loss, added = run["validation_loss"][look], run["balancing"][look]
    return {"training_step": step, "validation_loss": round(loss, 3), "added": float(f"{added:.3g}")}


def of_layer(run: dict[str, Any], step: int, layer: int) -> dict[str, Any]:
    """f, and P at the steps at which it was recorded."""
    look, asked = result()["steps"].index(step), result()["probability_steps"]
    shares = zip(F, run["share"][look][layer], strict=True)
    chances = zip(P, run["probability"][asked.index(step)][layer] if step in asked else NOTHING, strict=True)
    return (
        {"dead": run["dead"][look][layer], "busiest": None, "in_sequence": None}
        | {name: round(share, 3) for name, share in shares}
        | {name: None if chance is None else round(chance, 2) for name, chance in chances}
        | {"router_entropy": round(run["router_entropy"][look][layer], 2)}
    )


def of_scope(rule: str, arm: str) -> Rows:
    """What the other record kept: the busiest expert's share, of all text and in the mean sequence; no single ones."""
    found = load("granularity").results
    return [
        {"rule": rule, "weight": None, "top_k": None, "seed": run["seed"], "training_step": step}
        | {"validation_loss": round(run["validation_loss"][at], 3), "added": None, "layer": layer + 1, "dead": None}
        | {"busiest": round(busiest, 3), "in_sequence": round(run["sequence_share"][at][layer], 3)}
        | dict.fromkeys([*F, *P, "router_entropy"])
        for run in found["arms"][f"single/{arm}"]
        for at, step in enumerate(found["steps"])
        if step in DRAWN_SCOPES
        for layer, busiest in enumerate(run["largest_share"][at])
    ]


def facts(rows: Rows) -> dict[str, Quantity]:
    """How much longer than its fair share the busiest expert works, without balancing, and how the losses differ."""
    compared = ("none/k1", "auxiliary-0.01/k1", "bias/k1")
    share = result()["summary"]["none/k1"]["largest_share"]["mean"]
    losses = {arm: [run["validation_loss"][-1] for run in result()["arms"][arm]] for arm in compared}
    behind = [alone > helped for alone, helped in zip(losses["none/k1"], losses["auxiliary-0.01/k1"], strict=True)]
    settings = load("balance").settings["shared"]
    means = [sum(values) / len(values) for values in losses.values()]
    dead = sum(sum(map(sum, run["dead"])) for runs in result()["arms"].values() for run in runs)
    return {
        "apart": Quantity(apart(means), "ratio", "nats per byte between the means of no rule, auxiliary loss and bias"),
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
        "dead": Quantity(dead, "count", "experts without a token at any look, in any layer of any run"),
        **of_the_cell(),
        "runs": Quantity(sum(map(len, result()["arms"].values())), "count", "trainings: rules, one or two experts"),
    }


def of_the_cell() -> dict[str, Quantity]:
    """What the cell's small trainings come to, without a rule and with the auxiliary loss."""
    found = {}
    for rule, weight in (("none", 0.0), ("auxiliary", 0.1), ("auxiliary", 1.0), ("bias", 0.01)):
        ends = [learning.train(learning.config_of(rule, weight, 1), seed=seed).rows()[-1] for seed in (0, 1, 2)]
        dead, errors = [row["dead"] for row in ends], [float(row["validation_loss"]) for row in ends]
        words = f"the cell, {rule} {weight:g}, seeds 0 to 2"
        found[f"cell-{rule}-{weight:g}-dead"] = Quantity(sum(dead), "count", f"experts without a token, all of {words}")
        found[f"cell-{rule}-{weight:g}-error"] = Quantity(sum(errors) / 3, "ratio", f"mean squared error, {words}")
    return found


def apart(values: list[float]) -> float:
    """From the least to the most."""
    return max(values) - min(values)


def words(rows: Rows) -> Words:
    last, seeds = result()["steps"][-1], len(result()["arms"]["none/k1"])
    told = {arm: spread(arm) for arm in ("none/k1", "auxiliary-0.01/k1", "bias/k1")}
    alone, helped = (max(float(row[f]) for row in at_end(rows, rule) for f in F) for rule in OPENING)
    return Words(
        f"As it opens: layer {OPENS_WITH['layer']} of seed {OPENS_WITH['seed']}. Without balancing one expert of "
        f"{EXPERTS} ends with {alone:.0%} of the tokens; from the same start, with the auxiliary loss at weight "
        f"{OPENS_WITH['weight']}, the busiest with {helped:.0%}. That layer is an extreme: after {last} steps, "
        f"mean of all layers, it is {told['none/k1']} without balancing, {told['auxiliary-0.01/k1']} with that loss "
        f"and {told['bias/k1']} with bias correction ({seeds} seeds). No expert dies, and the validation losses tie.",
        f"Two columns, a training each, that controls choose from {len(RULES) + len(SCOPES)}. On top, {EXPERTS} lines "
        f"follow each expert's share f of the choices over the steps of training; a dashed line marks the even share. "
        f"Below, at the step that the player stands at, f of each expert as a bar, and beside it the mean router "
        f"probability P as a mark. At the bottom six small charts lay both trainings over each other, with the range "
        f"over seeds: share of the busiest expert, entropy of the load, experts without a token, entropy of the "
        f"router, validation loss, and what the rule adds to the training loss, as a multiple of its first value. "
        f"As it opens one line of the left column climbs within ten steps and stays up, while those of the right one "
        f"come together.",
    )


OPENING = (OPENS_WITH["left"], OPENS_WITH["right"])


def at_end(rows: Rows, rule: Any) -> Rows:
    """The row of a rule that is shown when the figure opens and the player has come to its end."""
    wanted = {key: OPENS_WITH[key] for key in ("top_k", "layer", "seed")} | {"rule": rule, "training_step": LOOKS[-1]}
    found = [row for row in rows if wanted.items() <= row.items()]
    return [row for row in found if row["weight"] in (None, OPENS_WITH["weight"])]


def table(rows: Rows) -> Rows:
    """What the figure shows as it opens, f alone."""
    wanted = {key: OPENS_WITH[key] for key in ("top_k", "layer", "seed")}
    shown = [row for row in rows if wanted.items() <= row.items() and row["rule"] in OPENING]
    kept = ("rule", "training_step", *F, "validation_loss")
    return [{key: row[key] for key in kept} for row in shown if row["weight"] in (None, OPENS_WITH["weight"])]


def spread(arm: str) -> str:
    """The largest share at the end, over seeds."""
    share = result()["summary"][arm]["largest_share"]
    return f"{share['mean']:.0%} ({share['least']:.0%} to {share['most']:.0%})"


CHOSEN = (
    "(datum.rule == left || datum.rule == right) && datum.layer == layer"
    " && (!isValid(datum.weight) || datum.weight == weight) && (!isValid(datum.top_k) || datum.top_k == top_k)"
)


def chart(rows: Rows, size: Size) -> Chart:
    names = {rule: labels[size.narrow] for rule, labels in (RULES | SCOPES).items()}
    two = side_by_side(names, list(SCOPES), size).transform_filter(CHOSEN)
    return measured(two).add_params(*params())


def params() -> list[alt.Parameter]:
    keys, labels = [*RULES, *SCOPES], [label for label, _ in (RULES | SCOPES).values()]

    def select(name: str, label: str, options: Any, **more: Any) -> alt.Parameter:
        bind = alt.binding_select(options=list(options), name=label, **more)
        return alt.param(name=name, value=OPENS_WITH[name], bind=bind)

    return [
        select("left", "Left", keys, labels=labels),
        select("right", "Right", keys, labels=labels),
        select("weight", "Weight of the auxiliary loss", WEIGHTS),
        select("top_k", "Experts a token", (1, 2)),
        select("layer", "Layer", (1, 2, 3, 4)),
        select("seed", "Seed", (0, 1, 2)),
        alt.param(name="step", value=len(LOOKS) - 1, bind=alt.binding_range(min=0, max=len(LOOKS) - 1, step=1)),
    ]
