"""Tokens per expert. A router without any preference still drops tokens when every expert has just enough slots."""

from functools import cache
from itertools import product

import altair as alt
import torch

from moedocs.charts import HATCH, Chart, Size, colour
from moedocs.config import RoutingConfig
from moedocs.cost import Quantity
from moedocs.engine import capacity, load, softmax_top_k, with_capacity
from moedocs.lite import binomial_overflow, inclusion_probability
from moedocs.site.figure import Rows, Words

title = "Tokens per expert"
badge = "simulation"
seed = 3  # a draw from the middle of the spread
sources = ("switch-2021", "gshard-2020")

EXPERTS, TOP_K, TOKENS, SKEWS, FACTORS = (4, 8, 16), (1, 2, 4), (64, 256, 1024), (0.0, 0.5, 1.0), (1.0, 1.25, 1.5, 2.0)
DRAWS = 200
OPENS_WITH = {"num_experts": 8, "top_k": 2, "num_tokens": 64, "skew": 0.0, "capacity_factor": 1.0}


def data() -> Rows:
    """One row per expert and setting: what a seeded router gives it, and what chance gives it on average."""
    return [
        row
        for num_experts, top_k, num_tokens, skew in product(EXPERTS, TOP_K, TOKENS, SKEWS)
        for row in one_router(num_experts, top_k, num_tokens, skew)
    ]


def one_router(num_experts: int, top_k: int, num_tokens: int, skew: float) -> Rows:
    """Logits are -skew·log(rank) plus Gumbel noise: top-k then draws experts by chances in proportion to rank^-skew."""
    popularity_E = torch.arange(1, num_experts + 1, dtype=torch.float64) ** -skew
    uniform_TE = torch.rand(num_tokens, num_experts, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    logits_TE = popularity_E.log() - (-uniform_TE.log()).log()
    chance_E = inclusion_probability(popularity_E.numpy(), top_k)
    counts_RE = many_loads(popularity_E, top_k, num_tokens)
    rows: Rows = []
    for factor in FACTORS:
        config = RoutingConfig(num_experts=num_experts, top_k=top_k, capacity_factor=factor)
        slots = capacity(num_tokens, config)
        routing = with_capacity(softmax_top_k(logits_TE, top_k), slots)
        shares_R = (counts_RE - slots).clamp(min=0).sum(-1) / (num_tokens * top_k)
        low, high = shares_R.quantile(torch.tensor([0.05, 0.95])).tolist()
        settings = {"num_experts": num_experts, "top_k": top_k, "num_tokens": num_tokens, "skew": skew}
        rows += [
            settings
            | {
                "capacity_factor": factor,
                "expert": expert + 1,
                "capacity": slots,
                "load": tokens,
                "dropped": dropped,
                "expected_load": float(num_tokens * chance),
                "expected_dropped": binomial_overflow(num_tokens, float(chance), slots),
                "low_share": low,
                "high_share": high,
            }
            for expert, (tokens, dropped, chance) in enumerate(
                zip(load(routing).tolist(), routing.dropped_TE.sum(0).tolist(), chance_E, strict=True)
            )
        ]
    return rows


def many_loads(popularity_E: torch.Tensor, top_k: int, num_tokens: int) -> torch.Tensor:
    """Loads (R, E) of R = DRAWS such routers: how far one draw may lie from what is expected."""
    ring_RTE = noise(num_tokens, len(popularity_E)) / popularity_E.float()  # the first K clocks to ring are chosen
    index_RN = ring_RTE.topk(top_k, largest=False).indices.flatten(1)
    return torch.zeros(DRAWS, len(popularity_E)).scatter_add_(1, index_RN, torch.ones(index_RN.shape))


@cache
def noise(num_tokens: int, num_experts: int) -> torch.Tensor:
    """Exponential times, one per draw, token and expert; every skew and top-k sees the same ones."""
    generator = torch.Generator().manual_seed(seed + 1)
    return torch.empty(DRAWS, num_tokens, num_experts).exponential_(generator=generator)


def shares(rows: Rows, **settings: float) -> tuple[float, float]:
    """Share of assignments dropped at a setting: in the simulation, and exactly expected."""
    chosen = [row for row in rows if all(row[key] == value for key, value in (OPENS_WITH | settings).items())]
    total = sum(float(row["load"]) for row in chosen)
    dropped = sum(float(row["dropped"]) for row in chosen) / total
    return dropped, sum(float(row["expected_dropped"]) for row in chosen) / total


def facts(rows: Rows) -> dict[str, Quantity]:
    """Numbers that the page quotes."""
    cases: dict[str, dict[str, float]] = {
        "fair": {},
        "fair-125": {"capacity_factor": 1.25},
        "fair-2": {"capacity_factor": 2.0},
        "fair-1024": {"num_tokens": 1024},
        "skewed": {"skew": 1.0},
        "skewed-125": {"skew": 1.0, "capacity_factor": 1.25},
        "skewed-2": {"skew": 1.0, "capacity_factor": 2.0},
    }
    found = {}
    for name, settings in cases.items():
        simulated, exact = shares(rows, **settings)
        found[name] = Quantity(exact, "share", f"exact expectation, {settings or 'as the figure opens'}")
        found[f"{name}-simulated"] = Quantity(simulated, "share", f"simulation, seed {seed}")
    return found


def words(rows: Rows) -> Words:
    simulated, exact = shares(rows)
    n, k, t = (OPENS_WITH[key] for key in ("num_experts", "top_k", "num_tokens"))
    loads = [row["load"] for row in rows if all(row[key] == value for key, value in OPENS_WITH.items())]
    slots = next(row["capacity"] for row in rows if all(row[key] == value for key, value in OPENS_WITH.items()))
    return Words(
        f"A fair router, {t} tokens, {n} experts, {k} each: {slots} slots per expert are enough on average, and yet "
        f"in this draw {simulated:.1%} of the assignments find their expert full (hatched). "
        f"Exactly expected: {exact:.1%}. Chance stands in for a trained router, whose choices would hang together.",
        f"A bar for each of {n} experts: how many of {t} tokens chose it, {k} choices a token, under a router without "
        f"preference (seed {seed}). Loads run from {min(loads)} to {max(loads)}; a line marks the capacity of {slots} "
        f"slots. What stands above it is hatched: those assignments are dropped, and their tokens go on without that "
        f"expert's answer. A short mark shows the expected load. Controls change experts, top-k, tokens, skew and "
        f"capacity factor. The exact expectation takes an expert's load as binomial, as it is for independent tokens.",
    )


def chart(rows: Rows, size: Size) -> Chart:
    def slider(name: str, label: str, options: tuple[float, ...]) -> alt.Parameter:
        return alt.param(name=name, value=OPENS_WITH[name], bind=alt.binding_select(options=list(options), name=label))

    params = [
        slider("num_experts", "Experts N", EXPERTS),
        slider("top_k", "Top-k", TOP_K),
        slider("num_tokens", "Tokens", TOKENS),
        slider("capacity_factor", "Capacity factor", FACTORS),
        slider("skew", "Skew", SKEWS),
    ]
    chosen = " && ".join(f"datum.{name} == {name}" for name in OPENS_WITH)
    base = alt.Chart(alt.NamedData("table")).transform_filter(chosen)
    x = alt.X("expert:O", title="expert", axis=alt.Axis(labelAngle=0, ticks=False))
    wide = alt.RelativeBandSize(0.66)
    slots = base.mark_bar(width=wide, filled=False, stroke=colour("idle"), strokeDash=[3, 3]).encode(
        x=x, y="capacity:Q"
    )
    kept = (
        base.transform_calculate(kept="datum.load - datum.dropped")
        .mark_bar(width=wide, color=colour("active"))
        .encode(x=x, y=alt.Y("kept:Q", title="tokens", axis=alt.Axis(tickCount=5)))
    )
    over = (
        base.transform_calculate(kept="datum.load - datum.dropped")
        .mark_bar(width=wide, fill=HATCH, stroke=colour("dropped"), strokeWidth=1)
        .encode(x=x, y="kept:Q", y2="load:Q", opacity=alt.condition("datum.dropped > 0", alt.value(1), alt.value(0)))
    )
    expected = base.mark_tick(
        color=colour("ink"), thickness=3, stroke=colour("paper"), strokeWidth=1, width=alt.RelativeBandSize(0.4)
    ).encode(x=x, y="expected_load:Q")
    hover = base.mark_bar(width=alt.RelativeBandSize(1), opacity=0).encode(
        x=x,
        y="load:Q",
        tooltip=[
            alt.Tooltip("expert:O"),
            alt.Tooltip("load:Q", title="tokens"),
            alt.Tooltip("dropped:Q", title="dropped"),
            alt.Tooltip("expected_load:Q", title="expected load", format=".1f"),
            alt.Tooltip("expected_dropped:Q", title="expected dropped", format=".2f"),
        ],
    )
    line = (
        base.transform_filter("datum.expert == 1")
        .mark_rule(color=colour("ink"), strokeWidth=1.5)
        .encode(y="capacity:Q")
    )
    return (
        alt.layer(slots, kept, over, expected, line, hover, readout(base, size))
        .add_params(*params)
        .properties(
            width=size.width,
            height=340 if size.narrow else 300,
            autosize=alt.AutoSizeParams(type="fit", contains="padding"),
        )
    )


def readout(base: Chart, size: Size) -> Chart:
    """The result in words, above the bars; the spread is left out where the table has none, as in a reader's own."""
    draw = "'Dropped ' + format(datum.dropped / datum.load, '.1%') + ' in this draw'"
    exact = "'exactly expected ' + format(datum.expected / datum.load, '.1%')"
    spread = "'nine draws of ten: ' + format(datum.low, '.1%') + ' to ' + format(datum.high, '.1%')"
    slots = "'capacity ' + datum.capacity + ' slots (line)'"
    gap = ", " if size.narrow else " + ' · ' + "
    always, more = gap.join((draw, exact)), gap.join((spread, slots))
    return (
        base.transform_aggregate(
            load="sum(load)",
            dropped="sum(dropped)",
            expected="sum(expected_dropped)",
            low="min(low_share)",
            high="max(high_share)",
            capacity="max(capacity)",
        )
        .transform_calculate(words=f"isValid(datum.low) ? [{always}, {more}] : [{always}, {slots}]")
        .mark_text(align="left", baseline="top", fontSize=13, fontWeight=600, lineHeight=17)
        .encode(text="words:N", x=alt.value(0), y=alt.value(-75 if size.narrow else -42))
        .properties(name="readout")
    )
