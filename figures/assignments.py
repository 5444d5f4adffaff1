"""Who takes whom: the same router logits under six rules. Rules that level the load look at tokens yet to come."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import altair as alt
import torch
from torch import Generator, Tensor

from moedocs.charts import Chart, Size, colour
from moedocs.cost import Quantity
from moedocs.engine import (
    base_assignment,
    expert_choice,
    gshard_top_2,
    hash_routing,
    hash_table,
    load_imbalance,
    sinkhorn,
    softmax_top_k,
)
from moedocs.engine.balance import load
from moedocs.engine.record import Routing
from moedocs.lab.fingerprint import ROOT
from moedocs.lab.records import load as record
from moedocs.lite import forward_pass
from moedocs.lite.weights import load as model_of
from moedocs.site.figure import Rows, Words

title = "The same tokens and router, six ways to assign"
badge = "trained model"
seed = 0  # of what is drawn: the table of the hash, and who skips a second choice
records = ("browser",)
sources = ("gshard-2020", "expert-choice-2022", "base-2021", "routed-scaling-2022", "hash-2021")

TEXTS = {"C++": "for (auto i = 0; i < n; ", "prose": "Return the list of names"}
TOKENS = 24
BATCHES = (8, 16, TOKENS)  # so many tokens from the front are all that there is to assign
EIGHT = alt.Scale(domain=list(range(1, 9)))
OPENS_WITH: dict[str, Any] = {"text": "C++", "layer": 2, "rule": "expert choice", "tokens": TOKENS}


@cache
def logits_of(text: str) -> list[Tensor]:
    """Router logits (T, E) of each layer of the model with experts that lives in the page, reading this text."""
    record("browser")  # which says what to do where the file is of other code
    model = model_of(ROOT / "figures" / "models" / "moe.npz")
    read = forward_pass(model.arrays, model.config, [list(text.encode())])
    return [torch.from_numpy(one.logits_TE) for one in read.routings]


def rules(logits_TE: Tensor, ids_T: Tensor, top_k: int = 2) -> dict[str, Callable[[], Routing]]:
    """Each way to assign the tokens that are there."""
    num_tokens, num_experts = logits_TE.shape
    table_VK = hash_table(256, num_experts, top_k, generator=Generator().manual_seed(seed))
    return {
        "token choice": partial(softmax_top_k, logits_TE, top_k),
        "random second": lambda: gshard_top_2(logits_TE, generator=Generator().manual_seed(seed)),
        "expert choice": partial(expert_choice, logits_TE, num_tokens * top_k // num_experts),
        "BASE": partial(base_assignment, logits_TE),
        "Sinkhorn": partial(sinkhorn, logits_TE, top_k),
        "hash of the byte": partial(hash_routing, ids_T, table_VK, num_experts),
    }


def routings(text: str, layer: int, tokens: int = TOKENS) -> dict[str, Routing]:
    """What each rule makes of the first so many tokens of a text."""
    ids_T = torch.tensor(list(TEXTS[text].encode()))[:tokens]
    return {name: rule() for name, rule in rules(logits_of(TEXTS[text])[layer - 1][:tokens], ids_T).items()}


def layers() -> range:
    return range(1, len(logits_of(TEXTS["C++"])) + 1)


def data() -> Rows:
    """Rows of two kinds: the router's probability of a token for an expert, and the experts of a token under a rule."""
    found: Rows = []
    for text in TEXTS:
        for layer in layers():
            whole = routings(text, layer)
            found += probabilities(text, layer)
            for tokens in BATCHES:
                found += assigned(text, layer, tokens, whole)
    columns = dict.fromkeys(found[0] | found[-1])
    return [columns | row for row in found]


def probabilities(text: str, layer: int) -> Rows:
    probs_TE = logits_of(TEXTS[text])[layer - 1].softmax(-1).tolist()
    return [
        {"text": text, "layer": layer, "token": token, "expert": expert, "probability": round(probability, 3)}
        for token, probs_E in enumerate(probs_TE, 1)
        for expert, probability in enumerate(probs_E, 1)
    ]


def assigned(text: str, layer: int, tokens: int, whole: dict[str, Routing]) -> Rows:
    """`moved`: the token has other experts here than where all tokens are there."""
    return [
        {
            "text": text,
            "layer": layer,
            "token": token + 1,
            "rule": rule,
            "tokens": tokens,
            "experts": " ".join(str(expert + 1) for expert in map_E.nonzero().flatten().tolist()),
            "unserved": int(not map_E.any()),
            "busiest": int(load(routing).max()),
            "moved": int((map_E != whole[rule].map_TE[token]).any()),
        }
        for rule, routing in routings(text, layer, tokens).items()
        for token, map_E in enumerate(routing.map_TE)
    ]


def facts(rows: Rows) -> dict[str, Quantity]:
    """Over both texts and all layers of the model, under each rule."""
    cases = [(text, layer) for text in TEXTS for layer in layers()]
    whole = [routings(*case) for case in cases]
    parts = [routings(*case, tokens) for case in cases for tokens in BATCHES[:-1]]
    told: dict[str, Quantity] = {}
    for rule in whole[0]:
        maps = [case[rule].map_TE for case in whole]
        served_T = torch.cat([map_TE.sum(1) for map_TE in maps])
        moved = [
            one[rule].map_TE != all_TE[: len(one[rule].map_TE)] for one, all_TE in zip(parts, twice(maps), strict=True)
        ]
        busiest = [load_imbalance(load(case[rule])).item() for case in whole]
        kept = [
            case[rule].logits_TE.softmax(-1)[map_TE].mean().item() for case, map_TE in zip(whole, maps, strict=True)
        ]
        key = rule.replace(" ", "-").lower()
        told |= {
            f"{key}-busiest": Quantity(
                sum(busiest) / len(busiest), "ratio", "load of the busiest expert over the mean"
            ),
            f"{key}-none": Quantity((served_T == 0).double().mean().item(), "share", "tokens without an expert"),
            f"{key}-most": Quantity(served_T.max().item(), "count", "experts of one token, most"),
            f"{key}-moved": Quantity(share_moved(moved), "share", "tokens whose experts depend on later tokens"),
            f"{key}-kept": Quantity(sum(kept) / len(kept), "ratio", "mean router probability of what is assigned"),
        }
    return told | opening() | draws()


def draws() -> dict[str, Quantity]:
    """How far the busiest expert of the hash hangs on the table that was drawn."""
    busiest = [hashed(draw) for draw in range(20)]
    said = "load of the busiest expert over the mean, both texts"
    return {
        "hash-draws-least": Quantity(min(busiest), "ratio", f"{said}, least of {len(busiest)} tables"),
        "hash-draws-most": Quantity(max(busiest), "ratio", f"{said}, most of {len(busiest)} tables"),
    }


def hashed(draw: int, num_experts: int = 8, top_k: int = 2) -> float:
    table_VK = hash_table(256, num_experts, top_k, generator=Generator().manual_seed(draw))
    ids = [torch.tensor(list(text.encode())) for text in TEXTS.values()]
    return sum(load_imbalance(load(hash_routing(ids_T, table_VK, num_experts))).item() for ids_T in ids) / len(ids)


def twice(maps: list[Tensor]) -> list[Tensor]:
    """Each as often as there are shorter batches."""
    return [map_TE for map_TE in maps for _ in BATCHES[:-1]]


def share_moved(moved: list[Tensor]) -> float:
    return torch.cat([one.any(1) for one in moved]).double().mean().item()


def opening() -> dict[str, Quantity]:
    """What stands in the figure as it opens."""
    found = routings(OPENS_WITH["text"], OPENS_WITH["layer"])
    served_T = found["expert choice"].map_TE.sum(1)
    return {
        "opens-none": Quantity(int((served_T == 0).sum()), "count", "tokens that no expert takes"),
        "opens-most": Quantity(int(served_T.max()), "count", "experts that take the same token"),
        "opens-busiest": Quantity(int(load(found["token choice"]).max()), "count", "tokens of the busiest expert"),
        "opens-idlest": Quantity(int(load(found["token choice"]).min()), "count", "tokens of the least busy expert"),
        "fair": Quantity(int(load(found["expert choice"])[0]), "count", "tokens of each expert when all are even"),
    }


def words(rows: Rows) -> Words:
    told = facts(rows)

    def of(name: str) -> str:
        return f"{told[name].value:.0%}"

    fair, none, most = (int(told[name].value) for name in ("fair", "opens-none", "opens-most"))
    return Words(
        f"A trained router reads {TOKENS} bytes of C++. Left to the tokens, two experts each, one expert has "
        f"{told['opens-busiest'].value:.0f} of them and another {told['opens-idlest'].value:.0f}. Expert choice, as "
        f"shown, fills every expert with {fair}; {none} tokens are taken by none, and one by {most}. The price is that "
        f"later tokens have a say: cut the text after 8 or 16 bytes, and {of('expert-choice-moved')} of "
        f"the tokens have other experts under expert choice, {of('base-moved')} under BASE, {of('sinkhorn-moved')} "
        f"under Sinkhorn, none where a token's experts are its own affair (both texts, all layers). The model was "
        f"trained with token choice: what one trained under another rule would do is not shown.",
        f"A grid of {TOKENS} tokens by eight experts, shaded by the router's probability; an outline marks each "
        f"expert that a token has under the rule chosen. Numbers beside the grid count the experts of each token, and "
        f"0 is circled; a triangle marks a token that would have other experts if the text went on. Bars count the "
        f"tokens of each expert, a line stands at the mean. Controls choose the text, the layer, the rule and how many "
        f"tokens there are.",
    )


def table(rows: Rows) -> Rows:
    """The experts of each token as the figure opens."""
    return [row for row in rows if all(row.get(name) == value for name, value in OPENS_WITH.items())]


def chart(rows: Rows, size: Size) -> Chart:
    options: dict[str, list[Any]] = {
        "text": list(TEXTS),
        "rule": list(dict.fromkeys(row["rule"] for row in rows if "rule" in row)),
        "layer": list(layers()),
        "tokens": list(BATCHES),
    }
    names = {"text": "Text", "rule": "Rule", "layer": "Layer", "tokens": "Tokens there are"}
    params = [
        alt.param(name=name, value=OPENS_WITH[name], bind=alt.binding_select(options=options[name], name=names[name]))
        for name in names
    ]
    base = alt.Chart().transform_filter("datum.text == text && datum.layer == layer")
    assigned = base.transform_filter("datum.rule == rule && datum.tokens == tokens").transform_calculate(
        served="datum.experts ? length(split(datum.experts, ' ')) : 0"
    )
    grid = matrix(base, assigned, size)
    both = (
        alt.vconcat(grid, loads(assigned, size), spacing=8)
        if size.narrow
        else alt.hconcat(grid, loads(assigned, size), spacing=8)
    )
    return both.properties(data=alt.NamedData("table")).add_params(*params)


def across(size: Size) -> tuple[Any, Any]:
    """Channels of a token and of an expert: tokens run to the right where there is room, else down."""
    spelled = "; ".join(TEXTS.values())
    starts = {name: spelled.index(text) for name, text in TEXTS.items()}
    letter = f"substring('{spelled}', {starts}[text] + datum.value - 1, {starts}[text] + datum.value)"
    tokens = alt.Axis(
        labelExpr=f"{letter} == ' ' ? '␣' : {letter}",
        orient="left" if size.narrow else "top",
        labelAngle=0,
        labelFontSize=13,
        labelOverlap=False,
        ticks=False,
        domain=False,
        title="token",
    )
    experts = alt.Axis(labelAngle=0, ticks=False, domain=False, title="expert", orient="top" if size.narrow else "left")
    every = alt.Scale(domain=list(range(1, TOKENS + 1)))
    if size.narrow:
        return alt.Y("token:O", axis=tokens, scale=every), alt.X("expert:O", axis=experts, scale=EIGHT)
    return alt.X("token:O", axis=tokens, scale=every), alt.Y("expert:O", axis=experts, scale=EIGHT)


def channel(name: str, size: Size) -> dict[str, Any]:
    token, expert = across(size)
    both = {"y": token, "x": expert} if size.narrow else {"x": token, "y": expert}
    return both if name == "both" else {("y" if size.narrow else "x"): token}


def matrix(base: Chart, assigned: Chart, size: Size) -> Chart:
    band, edge = (17, 25) if size.narrow else (19, 22)
    aside = "x" if size.narrow else "y"
    end = 8 * edge
    shade = (
        base.transform_filter("isValid(datum.probability) && datum.token <= tokens")
        .mark_rect(color=colour("router"), stroke=colour("paper"))
        .encode(
            **channel("both", size),
            opacity=alt.Opacity("probability:Q", scale=alt.Scale(domain=[0, 1], range=[0.06, 1]), legend=None),
            tooltip=["token:O", "expert:O", alt.Tooltip("probability:Q", format=".0%")],
        )
        .properties(name="part_probability")
    )
    chosen = (
        flat(assigned)
        .mark_square(filled=False, stroke=colour("active"), strokeWidth=2.5, size=(band - 3) ** 2, opacity=1)
        .encode(**channel("both", size))
        .properties(name="part_kept")
    )
    counts = assigned.mark_text(fontSize=12).encode(
        **channel("token", size),
        **{aside: alt.value(end + 12)},
        text="served:Q",
        color=alt.condition("datum.served == 0", alt.value(colour("dropped")), alt.value(colour("soft"))),
    )
    nobody = (
        assigned.transform_filter("datum.served == 0")
        .mark_point(shape="circle", filled=False, size=230, stroke=colour("dropped"), strokeWidth=2, opacity=1)
        .encode(**channel("token", size), **{aside: alt.value(end + 12)})
        .properties(name="part_empty")
    )
    moved = (
        assigned.transform_filter("datum.moved")
        .mark_point(shape="triangle-up", filled=True, size=55, color=colour("skipped"), opacity=1)
        .encode(**channel("token", size), **{aside: alt.value(end + 30)})
    )
    wide, high = (end, TOKENS * band) if size.narrow else (TOKENS * band, end)
    return alt.layer(shade, chosen, counts, nobody, moved, readout(assigned, size)).properties(width=wide, height=high)


def flat(assigned: Chart) -> Chart:
    """A row for each expert of a token."""
    return (
        assigned.transform_filter("datum.served > 0")
        .transform_calculate(each="split(datum.experts, ' ')")
        .transform_flatten(["each"])
        .transform_calculate(expert="toNumber(datum.each)")
    )


def loads(assigned: Chart, size: Size) -> Chart:
    """Tokens of each expert, beside the grid or under it."""
    channels = {"x": alt.X, "y": alt.Y}
    where, value = ("x", "y") if size.narrow else ("y", "x")
    bare = channels[where]("expert:O", scale=EIGHT, axis=None)
    room = alt.Scale(domain=[0, 18], nice=False)
    amount = channels[value]("load:Q", title="tokens", scale=room, axis=alt.Axis(tickCount=3, grid=True))
    counted = flat(assigned).transform_aggregate(load="count()", groupby=["expert"])
    bars = counted.mark_bar(color=colour("active")).encode(**{where: bare, value: amount}).properties(name="part_load")
    fair = (
        flat(assigned)
        .transform_aggregate(total="count()")
        .transform_calculate(load="datum.total / 8")
        .mark_rule(color=colour("ink"), strokeDash=[4, 3])
        .encode(**{value: amount})
        .properties(name="part_even")
    )
    wide, high = (8 * 25, 70) if size.narrow else (96, 8 * 22)
    return alt.layer(bars, fair).properties(width=wide, height=high)


def readout(assigned: Chart, size: Size) -> Chart:
    """The rule's result in words."""
    mean = ", mean " if size.narrow else " tokens, the mean is "
    load = f"'Busiest expert ' + datum.busiest + '{mean}' + format(datum.all / 8, '.2~f')"
    none = (
        "(datum.none == 1 ? '1 token has no expert' : (datum.none == 0 ? 'no' : datum.none) + ' tokens have no expert')"
    )
    aside = "beside: experts of each token" if size.narrow else "below: how many experts each token has"
    others = ": others if the text went on" if size.narrow else " would have others if the text went on"
    moved = f"datum.moved + ' of ' + tokens + '{others}'"
    more = f"(datum.moved ? {moved} : '{aside}')"
    lines = [load, none, more] if size.narrow else [f"{load} + ' · ' + {none}", more]
    return (
        assigned.transform_aggregate(
            busiest="max(busiest)", all="sum(served)", none="sum(unserved)", moved="sum(moved)"
        )
        .transform_calculate(words=f"[{', '.join(lines)}]")
        .mark_text(align="left", baseline="top", fontSize=12 if size.narrow else 13, fontWeight=600, lineHeight=17)
        .encode(text="words:N", x=alt.value(0), y=alt.value(-98 if size.narrow else -84))
        .properties(name="readout")
    )
