"""Figures: each builds, fits the schema and comes out the same twice; and its numbers are those of the engine."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from statistics import mean
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import altair
import jsonschema
import numpy as np
import pytest

from moedocs import charts, cost
from moedocs.config import DepthConfig, RoutingConfig
from moedocs.cost import atlas
from moedocs.cost.depth import depth_flops, integrated_flops
from moedocs.cost.load import Load
from moedocs.cost.parts import rows as parts_rows
from moedocs.cost.roofline import dense_twin
from moedocs.lab import records
from moedocs.lab.fingerprint import ROOT
from moedocs.site import cells, figures, pictures
from moedocs.site.figure import Rows, cell_path, load, paths
from tests import copies

NAMES = tuple(paths(ROOT))
WITH_CELL = tuple(name for name, path in paths(ROOT).items() if cell_path(path).is_file())
BUILD = """
import sys
from pathlib import Path
from moedocs.lab.fingerprint import ROOT
from moedocs.site import figures
from moedocs.site.figure import paths
for name, path in paths(ROOT).items():
    figures.build(name, path, Path(sys.argv[1]))
"""


@cache
def module(name: str) -> ModuleType:
    return load(paths(ROOT)[name])


@cache
def rows_of(name: str) -> Rows:
    """What `data()` gives, rounded as the build rounds it."""
    return figures.rounded(module(name).data())


@cache
def schema() -> Any:
    """The validator of the Vega-Lite schema that comes with Altair."""
    path = Path(altair.__file__).parent / "vegalite" / "v6" / "schema" / "vega-lite-schema.json"
    content = json.loads(path.read_text("utf-8"))
    return jsonschema.validators.validator_for(content)(content)


def page(built: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((built / name / "page.json").read_text("utf-8"))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_builds(name: str, built: Path) -> None:
    failure = built / name / figures.FAILURE
    assert not failure.is_file(), failure.read_text("utf-8")
    assert figures.is_fresh(built / name, paths(ROOT)[name])


def test_two_builds_write_the_same_bytes_though_threads_and_hash_seeds_differ(built: Path, tmp_path: Path) -> None:
    settings = {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", BUILD, str(tmp_path)], cwd=ROOT, env=os.environ | settings, check=True)
    assert copies.hashes(tmp_path) == copies.hashes(built)


@pytest.mark.parametrize("size", charts.SIZES, ids=lambda size: size.name)
@pytest.mark.parametrize("name", NAMES)
def test_every_specification_fits_the_schema_with_the_house_style_in_it(name: str, size: charts.Size) -> None:
    schema().validate(pictures.vega_lite(module(name).chart(rows_of(name), size)))


@pytest.mark.parametrize("name", NAMES)
def test_the_specification_for_download_fits_the_schema(name: str, built: Path) -> None:
    schema().validate(json.loads((built / name / f"{name}.vl.json").read_text("utf-8")))


def test_the_schema_refuses_what_is_no_chart() -> None:
    with pytest.raises(jsonschema.ValidationError):
        schema().validate({"mark": "bars", "encoding": {}})


@pytest.mark.parametrize("name", NAMES)
def test_the_table_for_download_holds_the_rows_that_are_drawn(name: str, built: Path) -> None:
    lines = list(csv.DictReader(io.StringIO((built / name / f"{name}.csv").read_text("utf-8"))))
    rows = rows_of(name)
    assert len(lines) == len(rows) == page(built, name)["num_rows"]
    assert [
        {key: None if row[key] is None else type(row[key])(text) for key, text in line.items()}
        for line, row in zip(lines, rows, strict=True)
    ] == rows


@pytest.mark.parametrize("name", NAMES)
def test_what_is_downloaded_draws_the_downloaded_picture(name: str, built: Path) -> None:
    """Vega reads a CSV by its own rules: a number that it took for text would draw something else."""
    downloads = {suffix: (built / name / f"{name}.{suffix}").read_text("utf-8") for suffix in ("csv", "svg", "vl.json")}
    spec = with_data(json.loads(downloads["vl.json"]), f"{name}.csv", downloads["csv"])
    assert pictures.for_download(pictures.svg(spec, [], f"{name}-wide")) == downloads["svg"]


def with_data(value: Any, url: str, table: str) -> Any:
    """The specification with the text of a file in the place of its address."""
    if isinstance(value, list):
        return [with_data(item, url, table) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("url") == url:
        return {"values": table, "format": value["format"]}
    return {key: with_data(item, url, table) for key, item in value.items()}


@pytest.mark.parametrize("size", charts.SIZES, ids=lambda size: size.name)
@pytest.mark.parametrize("name", NAMES)
def test_a_picture_fits_its_place_and_every_number_in_it_is_one(name: str, size: charts.Size, built: Path) -> None:
    text = (built / name / f"{size.name}.svg").read_text("utf-8")
    picture = ElementTree.fromstring(text)
    assert float(picture.attrib["width"]) <= size.width
    assert not re.search(r"NaN|undefined|Infinity", text)


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_has_marks_and_the_words_that_are_read_out(name: str, built: Path) -> None:
    for size in charts.SIZES:
        text = (built / name / f"{size.name}.svg").read_text("utf-8")
        assert re.search(r'class="mark-(rect|line|symbol|rule)', text)
        assert re.search(r'class="[^"]*readout', text)


@pytest.mark.parametrize("name", NAMES)
def test_words_and_provenance_are_complete(name: str, built: Path) -> None:
    made = page(built, name)
    assert all(len(made["words"][key]) > 80 for key in ("caption", "description"))
    assert made["title"].strip()
    provenance = made["provenance"]
    assert provenance["command"] == f"moedocs build {name}"
    assert (ROOT / provenance["source"]).is_file()
    assert all(provenance[key] for key in ("engine", "versions", "time", "settings"))
    assert list(provenance["records"]) == list(getattr(module(name), "records", ()))
    assert made["badge"] != "simulation" or provenance["seed"] is not None
    assert made["badge"] != "trained model" or provenance["records"]


@pytest.mark.parametrize("name", NAMES)
def test_the_table_of_the_page_is_rows_of_the_figure_as_it_opens_or_columns_of_them(name: str, built: Path) -> None:
    made = page(built, name)
    assert made["table"]
    assert all(any(row.items() <= one.items() for one in rows_of(name)) for row in made["table"])


@pytest.mark.parametrize("name", NAMES)
def test_each_control_opens_on_a_value_it_offers_and_moves_something(name: str) -> None:
    """Every value that a control offers leaves rows to draw, wherever the control names a column."""
    spec = pictures.vega_lite(module(name).chart(rows_of(name), charts.WIDE))
    for control in pictures.controls(spec):
        bind, column = control["bind"], control["name"]
        if bind["input"] == "number":
            least, most, _ = getattr(module(name), "limits", {}).get(column, (-math.inf, math.inf, "any"))
            assert least <= control["value"] <= most
            continue
        offered = bind.get("options") or list(range(bind["min"], bind["max"] + 1, bind.get("step", 1)))
        assert control["value"] in offered
        assert len(offered) > 1
        if column in rows_of(name)[0]:
            assert set(offered) <= {row[column] for row in rows_of(name)}


@pytest.mark.parametrize("name", NAMES)
def test_every_preset_sets_what_the_controls_take(name: str) -> None:
    spec = pictures.vega_lite(module(name).chart(rows_of(name), charts.WIDE))
    binds = {control["name"]: control["bind"] for control in pictures.controls(spec)}
    presets = getattr(module(name), "presets", {})
    for key, value in [pair for of in presets.values() for values in of.values() for pair in values.items()]:
        least, most, _ = getattr(module(name), "limits", {}).get(key, (-math.inf, math.inf, "any"))
        assert value in binds[key]["options"] if "options" in binds[key] else least <= value <= most, key


def figure_with(folder: Path, lines: str) -> tuple[figures.Failure | None, Path]:
    """A figure with a number to enter, and these lines in its file; why it could not be made, and its folder."""
    source = copies.NUMBERED.replace('badge = "formula"', f'badge = "formula"\n{lines}')
    root = copies.small_root(folder, numbered=source)
    return figures.build("numbered", root / "figures" / "numbered.py", folder / "made", root), folder / "made"


def test_the_page_is_told_of_presets_and_limits(tmp_path: Path) -> None:
    failure, made = figure_with(
        tmp_path, "limits = {'speed': (1, 9, 'any')}\npresets = {'Kind': {'slow': {'speed': 2}}}"
    )
    assert failure is None
    assert page(made, "numbered")["limits"] == {"speed": [1, 9, "any"]}
    assert page(made, "numbered")["presets"] == [["Kind", [["slow", {"speed": 2}]]]]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("limits = {'sped': (1, 9, 'any')}", "limits are stated for 'sped', which is no control"),
        ("limits = {'which': (1, 9, 'any')}", "limits are stated for 'which', which is no control with input"),
        (
            "presets = {'Kind': {'slow': {'sped': 2}}}",
            "presets set 'sped', which is no control; there are: speed, which",
        ),
    ],
)
def test_presets_and_limits_of_what_is_no_control_are_refused(tmp_path: Path, lines: str, reason: str) -> None:
    failure, _ = figure_with(tmp_path, lines)
    assert failure
    assert reason in failure.message


@pytest.mark.parametrize("name", WITH_CELL)
def test_a_cell_leaves_a_table_from_which_the_very_same_chart_is_drawn(name: str, built: Path) -> None:
    cell = cells.recorded(cell_path(paths(ROOT)[name]))
    assert page(built, name)["cell"] == asdict(cell)
    assert cell.output.strip()
    for size in charts.SIZES:
        spec = pictures.vega_lite(module(name).chart(rows_of(name), size))
        assert set(cell.table[0]) <= set(rows_of(name)[0]) | {param["name"] for param in pictures.controls(spec)}
        brought = as_the_page_draws(spec, cell.table)
        empty, drawn = (pictures.svg(spec, rows, name) for rows in ([], brought))
        assert not re.search(r"NaN|undefined|null", drawn)
        assert drawn.count("<path") > empty.count("<path")


def as_the_page_draws(spec: dict[str, Any], table: Rows) -> Rows:
    """The rows of a cell: controls come to what holds for all of them, and rows take the rest from the controls."""
    for param in pictures.controls(spec):
        if len(found := {row.get(param["name"], param["value"]) for row in table}) == 1:
            param["value"] = found.pop()
    values = {param["name"]: param["value"] for param in pictures.controls(spec)}
    return [values | row for row in table]


def test_the_cell_of_capacity_counts_what_a_loop_counts() -> None:
    cell, left = cells.recorded(cell_path(paths(ROOT)["capacity"])), dict[str, Any]()
    exec(cell.code, left)
    config, logits_TE, rows = left["config"], left["logits_TE"], cell.table
    slots = math.ceil(config.capacity_factor * len(logits_TE) * config.top_k / config.num_experts)
    load, dropped = [0] * config.num_experts, 0
    for rank in range(config.top_k):
        for logits_E in logits_TE:
            expert = int(np.argsort(-logits_E)[rank])
            dropped += load[expert] >= slots
            load[expert] += 1
    assert [row["load"] for row in rows] == load
    assert f"{dropped / sum(load):.1%} of the choices are dropped" in cell.output
    assert sum(rows[0][f"place_{quarter}"] for quarter in (1, 2, 3, 4)) / 4 == pytest.approx(dropped / sum(load))
    assert [row["expert"] for row in rows] == [1 + expert for expert in range(config.num_experts)]
    assert {row["capacity"] for row in rows} == {slots}


def grouped(rows: Rows, *keys: str) -> Iterator[tuple[tuple[Any, ...], Rows]]:
    """The rows by their values of these columns; a column that a figure does not have counts as 0."""
    groups: dict[tuple[Any, ...], Rows] = defaultdict(list)
    for row in rows:
        groups[tuple(row.get(key, 0) for key in keys)].append(row)
    return iter(groups.items())


def test_the_rows_of_cost_are_what_the_cost_model_counts() -> None:
    for (num_experts, top_k, d_ff, num_layers), rows in grouped(
        rows_of("cost"), "num_experts", "top_k", "d_ff", "num_layers"
    ):
        routing = RoutingConfig(num_experts=num_experts, top_k=top_k)
        config = replace(cost.PUBLISHED["mixtral-8x7b"], d_ff=d_ff, num_layers=num_layers, routing=routing)
        part = cost.parameters(config)
        assert sum(row["stored"] for row in rows) == part.total
        assert sum(row["used"] for row in rows) == part.active
        assert {row["flops_per_token"] for row in rows} == {cost.forward_flops(config)}
        assert all(row["used"] in (0, row["stored"]) for row in rows)


def test_cost_with_twice_the_layers_stores_twice_as_much_in_each_layer_and_one_vocabulary() -> None:
    sums = {
        layers: sum(row["stored"] for row in rows)
        for (layers, *others), rows in grouped(rows_of("cost"), "num_layers", "num_experts", "top_k", "d_ff")
        if others == [8, 2, 14336]
    }
    assert sums[64] - sums[32] == 2 * (sums[32] - sums[16]) == 32 * (46_702_792_704 - 2 * 32_000 * 4096 - 4096) // 32


def test_cost_opens_on_mixtral_as_published(built: Path) -> None:
    table = page(built, "cost")["table"]
    assert (sum(row["stored"] for row in table), sum(row["used"] for row in table)) == (46_702_792_704, 12_879_925_248)


def test_the_shares_of_the_collapse_lab_are_the_records_and_sum_to_one_in_every_layer_at_every_step() -> None:
    found = records.load("balance").results
    told = 0
    for row in rows_of("collapse-lab"):
        name = row["rule"] + (f"-{row['weight']:g}" if row["weight"] else "") + f"/k{row['top_k']}"
        name = name.replace("sigmoid-auxiliary", "sigmoid-auxiliary-0.01")
        if row["f1"] is None:
            continue
        run, look = found["arms"][name][row["seed"]], found["steps"].index(row["training_step"])
        for of, key, rounding in (("f", "share", 0.5e-3), ("p", "probability", 0.5e-2)):
            drawn = [row[f"{of}{expert}"] for expert in range(1, 9)]
            if None in drawn:
                assert (of, set(drawn)) == ("p", {None})
                continue
            at = look if of == "f" else found["probability_steps"].index(row["training_step"])
            assert drawn == pytest.approx(run[key][at][row["layer"] - 1], abs=1.01 * rounding)
            assert sum(drawn) == pytest.approx(1, abs=8 * rounding)
            told += 1
    assert told == (8 + 5) * 3 * 4 * 28  # steps with f and with P, seeds, layers, rules


def test_the_caption_of_the_collapse_lab_tells_the_largest_shares_of_the_record(built: Path) -> None:
    caption, found = page(built, "collapse-lab")["words"]["caption"], records.load("balance").results
    for arm in ("none/k1", "auxiliary-0.01/k1", "bias/k1"):
        ends = [mean(map(max, run["share"][-1])) for run in found["arms"][arm]]
        assert f"{mean(ends):.0%} ({min(ends):.0%} to {max(ends):.0%})" in caption
    for arm in ("none/k1", "auxiliary-0.01/k1"):
        assert f"{max(found['arms'][arm][2]['share'][-1][1]):.0%}" in caption


ROUNDING = 6e-3  # of three significant digits, relative to the largest terms


def traces(value: Any) -> Iterator[dict[str, Any]]:
    """Every token that a record follows, wherever it stands in it."""
    if isinstance(value, dict):
        if "expert_outputs" in value:
            yield value
        for item in value.values():
            yield from traces(item)
    elif isinstance(value, list):
        for item in value:
            yield from traces(item)


@cache
def tokens() -> list[tuple[tuple[int, int], dict[str, Any]]]:
    """Per token and number of experts: parts that hold for every k as arrays, and by k those that depend on it."""
    found = []
    for key, rows in grouped(rows_of("one-token"), "token", "num_experts"):
        parts: dict[str, Any] = {}
        for (part, top_k), values in grouped(rows, "part", "top_k"):
            by_expert = [[row["value"] for row in group] for _, group in grouped(values, "expert")]
            array = np.array(by_expert).squeeze()
            parts.setdefault(part, {})[top_k] = array
        found.append((key, {part: found[0] if list(found) == [0] else found for part, found in parts.items()}))
    return found


def test_one_token_has_all_parts_for_every_token_and_every_k() -> None:
    assert len(tokens()) > 1
    for key, parts in tokens():
        assert set(parts) == {"input", "logit", "probability", "weight", "answer", "residual"}, key
        assert parts["answer"].shape == (len(parts["logit"]), len(parts["input"])), key
        assert set(parts["weight"]) == set(module("one-token").TOP_K), key


def test_the_router_of_one_token_chooses_the_most_probable_and_its_weights_sum_to_one() -> None:
    for key, parts in tokens():
        exp_E = np.exp(parts["logit"])
        assert parts["probability"] == pytest.approx(exp_E / exp_E.sum(), rel=3 * ROUNDING), key
        for top_k, weights_E in parts["weight"].items():
            chosen = np.argsort(-parts["probability"], kind="stable")[:top_k]
            assert set(np.flatnonzero(weights_E)) == set(chosen), key
            assert weights_E.sum() == pytest.approx(1, abs=ROUNDING), key
            expected = parts["probability"][chosen] / parts["probability"][chosen].sum()
            assert weights_E[chosen] == pytest.approx(expected, rel=3 * ROUNDING), key


def test_one_token_asked_as_it_was_trained_gives_what_the_trained_model_gave() -> None:
    trained_with = module("one-token").TRAINED_WITH
    recorded = list(traces(records.load("one-token").results))
    for key, parts in tokens():
        mine = [t for t in recorded if len(t["logits"]) == len(parts["logit"])]
        own = min(mine, key=lambda trace: np.abs(np.array(trace["input"]) - parts["input"]).max())
        assert parts["logit"] == pytest.approx(own["logits"], rel=ROUNDING), key
        assert parts["weight"][trained_with] == pytest.approx(own["weights"], rel=ROUNDING), key
        size = np.abs(own["expert_outputs"]).max() + np.abs(own["residual"]).max()
        output_D = parts["residual"] + parts["weight"][trained_with] @ parts["answer"]
        assert output_D == pytest.approx(own["output"], abs=ROUNDING * size), key


CELL = re.compile(r'd="M([\d.]+),([\d.]+)h[^"]*" fill="var\(--moe-(plus|minus)\)" opacity="([\d.e-]+)"')


def drawn(**settings: int) -> list[list[float]]:
    """The strips of one token from top to bottom, as they are drawn: each cell's strength, with its sign."""
    spec = pictures.vega_lite(module("one-token").chart(rows_of("one-token"), charts.WIDE))
    for param in spec["params"]:
        param |= {"value": settings[param["name"]]} if param["name"] in settings else {}
    lines: dict[float, list[tuple[float, float]]] = defaultdict(list)
    for x, y, sign, strength in CELL.findall(pictures.svg(spec, rows_of("one-token"), "drawn")):
        lines[float(y)].append((float(x), float(strength) * (1 if sign == "plus" else -1)))
    return [[strength for _, strength in sorted(cells)] for _, cells in sorted(lines.items())]


@pytest.mark.parametrize(("num_experts", "top_k", "token"), [(4, 4, 1), (8, 2, 2), (16, 2, 3), (16, 1, 4)])
def test_the_sum_and_the_output_that_one_token_draws_are_those_of_its_parts(
    num_experts: int, top_k: int, token: int
) -> None:
    parts = dict(tokens())[token, num_experts]
    sum_D = parts["weight"][top_k] @ parts["answer"]
    strips = drawn(num_experts=num_experts, top_k=top_k, token=token)
    assert len(strips) == 1 + num_experts + 3
    for strip, expected_D in zip(strips[-3:], (sum_D, parts["residual"], parts["residual"] + sum_D), strict=True):
        assert strip == pytest.approx(np.clip(expected_D / 2, -1, 1), abs=1e-4)


def test_the_rows_of_cost_of_a_model_sum_to_what_the_atlas_counts() -> None:
    by_name = {one.name: one for one in atlas.models().values()}
    groups = dict(grouped(rows_of("cost-of-a-model"), "model", "shape"))
    assert {model for model, _ in groups} == set(by_name)
    for (model, shape), rows in groups.items():
        if shape == "itself":
            one = by_name[model]
            assert sum(row["stored"] for row in rows) == one.tree.count
            assert sum(row["used"] for row in rows) == one.active_counted.with_embeddings
            counted = cost.model_flops(one.architecture, 4096).causal / 4096
            assert sum(row["flops"] for row in rows) == pytest.approx(counted, rel=1e-5)


def test_cost_of_a_model_opens_on_mixtral_beside_nothing_and_offers_its_twins_and_every_model(built: Path) -> None:
    made = page(built, "cost-of-a-model")
    controls = {control["name"]: control for control in made["controls"]}
    assert {row["model"] for row in made["table"]} == {"Mixtral 8x7B"}
    assert sum(row["stored"] for row in made["table"]) == 46_702_792_704
    matrices, attended = 12_879_925_248 - 32_000 * 4096 - 65 * 4096, 4097 / 2  # without the embedding and the norms
    assert sum(row["flops"] for row in made["table"]) == 2 * matrices + 4 * 32 * 32 * 128 * attended
    names = controls["model"]["bind"]["options"]
    assert names == sorted((one.name for one in atlas.models().values()), key=str.lower)
    twins = ["dense twin, equal active", "dense twin, equal total"]
    assert controls["beside"]["bind"]["options"] == ["none", *twins, *names]


def words_of(name: str, rows: Rows | None = None, **settings: Any) -> list[str]:
    """What stands on the picture of a figure with these settings, of its rows or of others, line by line."""
    spec = pictures.vega_lite(module(name).chart(rows_of(name), charts.WIDE))
    for param in spec["params"]:
        param |= {"value": settings[param["name"]]} if param["name"] in settings else {}
    picture = ElementTree.fromstring(pictures.svg(spec, rows or rows_of(name), "words"))
    return ["".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text")]


def test_cost_of_a_model_says_what_it_draws_of_a_model_and_of_the_one_beside_it() -> None:
    alone = words_of("cost-of-a-model")
    assert "Mixtral 8x7B: 46.7 billion stored" in alone
    assert "12.9 billion used by one token (27.6%)" in alone
    assert "Mixtral 8x7B: 26.6 GFLOP per token" in alone
    twin = words_of("cost-of-a-model", beside="dense twin, equal total")
    assert "dense twin, equal total: 46.7 billion stored" in twin
    assert "46.7 billion used by one token (100.0%)" in twin
    other = words_of("cost-of-a-model", model="Kimi K2", beside="GPT-2 small", capacity=1.0)
    assert "Kimi K2: 1.03 trillion stored" in other
    assert "GPT-2 small: 124 million stored" in other
    assert other.count("the same: every token in every block") == 2


def test_cost_of_a_model_draws_a_readers_own_model_at_the_length_that_was_asked_for() -> None:
    own = parts_rows("mine", atlas.models()["mistral-7b"].architecture, Load(sequence=100_000))
    said = words_of("cost-of-a-model", own, model="mine", beside="dense twin, equal total")
    assert {"mine: 7.24 billion stored", "dense twin, equal total: 7.24 billion stored"} <= set(said)
    assert "GFLOP per token, 100,000 tokens of text" in said


def test_what_cost_of_a_model_states_of_attention_and_of_conventions_can_be_counted_again(built: Path) -> None:
    facts = {key: fact["value"] for key, fact in page(built, "cost-of-a-model")["facts"].items()}
    each = 4 * 32 * 32 * 128  # layers, heads and their width: scores and mixing of one token with one other
    assert each * (facts["length-alike"] + 1) / 2 == facts["attention-matrices"]
    assert facts["mixing-causal"] == each * 4097 / 2
    assert facts["mixing-full"] == each * 4096
    assert facts["attention-per-layer"] == 2 * 4096 * 32 * 128 + 2 * 4096 * 8 * 128
    assert facts["latents-expanded"] == 2 * 61 * 128 * (128 + 64 + 128)
    fitting = [count for name, count in facts.items() if name.startswith(("only-", "fit-"))]
    assert (len(fitting), sum(fitting)) == (5, facts["printed"])
    assert facts["printed"] == sum(bool(one.active) for one in atlas.models().values() if one.experts)
    assert facts["models"] == len(atlas.models())


def test_cost_of_a_model_draws_a_model_beside_itself_once_and_no_depth_where_there_is_an_encoder() -> None:
    same = words_of("cost-of-a-model", beside="Mixtral 8x7B")
    assert same.count("Mixtral 8x7B: 46.7 billion stored") == 1
    switch = words_of("cost-of-a-model", model="Switch-Base, 128 experts")
    assert "Switch-Base, 128 experts: 7.42 billion stored" in switch
    assert not any("every 2nd block" in line for line in switch)


def test_savings_are_those_that_the_cost_model_counts_whole() -> None:
    figure = module("savings")
    for (num_experts, top_k, capacity), rows in grouped(rows_of("savings"), "num_experts", "top_k", "capacity"):
        sparse = figure.cut(num_experts, top_k)
        dense, depth, length = dense_twin(sparse, "total"), DepthConfig(capacity=capacity), 4096
        no_ops = figure.no_ops(num_experts, capacity)
        counted = {
            "dense": cost.model_flops(dense, length).causal,
            "experts": cost.model_flops(sparse, length).causal,
            "depth": depth_flops(dense, depth, length).value,
            "experts and depth": depth_flops(sparse, depth, length).value,
            "experts and no-ops": integrated_flops(sparse, no_ops, length).value,
        }
        drawn = {way: sum(row["flops"] for row in group) for (way,), group in grouped(rows, "way")}
        assert drawn == {way: pytest.approx(flops / length, rel=1e-5) for way, flops in counted.items()}


def test_what_savings_compares_stores_the_same_but_for_routers() -> None:
    cut, total = module("savings").cut, atlas.models()["mixtral-8x7b"].tree.count
    assert cut(8, 2) == replace(atlas.models()["mixtral-8x7b"].architecture, name=cut(8, 2).name)
    for num_experts in (8, 16, 32, 64):
        sparse = cut(num_experts, 2)
        assert cost.parameter_tree(sparse).count == total + 32 * 4096 * (num_experts - 8)
        assert cost.parameter_tree(dense_twin(sparse, "total")).count == total - 32 * 4096 * 8


def test_savings_are_none_where_every_expert_runs_and_where_every_token_passes() -> None:
    settings = dict(grouped(rows_of("savings"), "num_experts", "top_k", "capacity"))
    flops = {way: sum(row["flops"] for row in rows) for (way,), rows in grouped(settings[8, 8, 1.0], "way")}
    routers, of_depth = 2 * 32 * 4096 * 8, 2 * 16 * 4096
    for way, extra in {"experts": routers, "depth": of_depth, "experts and depth": routers + of_depth}.items():
        assert flops[way] - flops["dense"] == pytest.approx(extra, abs=3e5)  # of 94 billion, six digits of each part
    assert flops["experts and no-ops"] == flops["experts"]


def test_savings_says_what_each_bar_is_and_how_much_less_it_takes() -> None:
    opening = words_of("savings")
    assert "dense: 94.2 GFLOP per token" in opening
    assert "2 of 8 experts: 26.6 GFLOP (−71.8%)" in opening
    assert any(line.startswith("2 of 8 experts, and 1/8 of the tokens in every 2nd block: 15.0") for line in opening)
    # 90.19 ÷ 64 of networks, 2.68 + 1.07 of attention, 0.26 of vocabulary, 0.02 of routers
    assert "1 of 64 experts: 5.4 GFLOP (−94.2%)" in words_of("savings", num_experts=64, top_k=1)
