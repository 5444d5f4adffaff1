"""Frames of figures and cells: whole without scripts, named once, and nothing in them is more than text."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from bs4 import BeautifulSoup, Tag
from markdown import Markdown

from moedocs.lab.fingerprint import ROOT
from moedocs.site import figures, frames, markdown
from moedocs.site.figure import paths
from tests import copies

NAMES = tuple(paths(ROOT))


@pytest.mark.parametrize("name", NAMES)
def test_a_frame_is_whole_without_scripts(name: str, built: Path) -> None:
    page = json.loads((built / name / "page.json").read_text("utf-8"))
    frame = BeautifulSoup(frames.figure(name, built / name, "../figures/x/", "https://example.org/"), "html.parser")
    assert text(frame, ".moe-figure__title") == page["title"]
    assert text(frame, "figcaption") == page["words"]["caption"]
    assert page["words"]["description"] in text(frame, ".moe-description")
    assert text(frame, ".moe-badge").startswith(page["badge"])
    rows = [[cell.text for cell in row.find_all("td")] for row in frame.select(".moe-data tbody tr")]
    assert rows == [[str(value) for value in row.values()] for row in page["table"]]
    assert [head.text for head in frame.select(".moe-data th")] == [key.replace("_", " ") for key in page["table"][0]]
    terms = [term.text for term in frame.select(".moe-made dt")]
    assert set(terms) >= {"Command", "Source", "Settings as it opens", "Engine fingerprint", "Versions", "Sources"}
    made = page["provenance"]
    assert ("Seed" in terms) == (made["seed"] is not None)
    assert made["seed"] is not None or page["badge"] != "simulation"
    assert ("Record" in terms) == bool(made["records"])
    assert made["records"] or page["badge"] != "trained model"
    assert all(str(version) in text(frame, ".moe-made") for version in page["provenance"]["versions"].values())
    assert len(frame.select(".moe-steps li")) == len(page["steps"])
    assert frame.find("script") is None


@pytest.mark.parametrize("name", NAMES)
def test_what_needs_scripts_is_switched_off_until_they_come_and_has_a_name(name: str, built: Path) -> None:
    frame = BeautifulSoup(frames.figure(name, built / name, "../figures/x/", "https://example.org/"), "html.parser")
    tools = frame.select("input, select, button")
    assert len(tools) > 2
    for tool in tools:
        assert tool.has_attr("disabled")
        label = tool.find_parent("label")
        assert tool.text.strip() or (label is not None and label.find("span") is not None)
    opened = {
        control["name"]: control["value"]
        for control in json.loads((built / name / "page.json").read_text())["controls"]
    }
    for tool in frame.select("[id][data-param]"):
        assert opens_on(tool) == opened[str(tool["data-param"])], tool["data-param"]


def opens_on(tool: Tag) -> Any:
    """The value that a native input opens on."""
    if tool.name == "select":
        (option,) = tool.select("option[selected]")
        return json.loads(str(option["value"]))
    if tool["type"] == "checkbox":
        return tool.has_attr("checked")
    at = json.loads(str(tool["value"]))
    return json.loads(str(tool["data-values"]))[at] if tool.has_attr("data-values") else at


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_named_once_and_no_two_things_share_an_id(name: str, built: Path) -> None:
    frame = BeautifulSoup(frames.figure(name, built / name, "../figures/x/", "https://example.org/"), "html.parser")
    pictures = frame.select(".moe-picture")
    assert [picture["data-size"] for picture in pictures] == ["wide", "narrow"]
    for picture in pictures:
        assert picture["role"] == "img"
        assert len(str(picture["aria-label"])) > 80
        assert [svg["aria-hidden"] for svg in picture.find_all("svg")] == ["true"]
        within = {tag["id"] for tag in picture.find_all(id=True)}
        assert set(re.findall(r"url\(#([^)]+)\)", str(picture))) <= within
    ids = [tag["id"] for tag in frame.find_all(id=True)]
    assert len(set(ids)) == len(ids)


def text(frame: BeautifulSoup, selector: str) -> str:
    (found,) = frame.select(selector)
    return str(found.text)


def test_a_cell_is_whole_without_scripts(built: Path) -> None:
    recorded = json.loads((built / "capacity" / "page.json").read_text("utf-8"))["cell"]
    cell = BeautifulSoup(frames.cell("capacity", built / "capacity", "../py/", 8.1234), "html.parser")
    assert text(cell, ".moe-cell__code code").strip() == recorded["code"].strip()
    assert text(cell, ".moe-cell__output pre") == recorded["output"]
    assert "The first run downloads 8.1 MB" in text(cell, ".moe-cell__bar")
    assert all(button.has_attr("disabled") for button in cell.find_all("button"))
    (outer,) = cell.find_all("moe-cell")
    assert (outer["for"], outer["src"]) == ("capacity", "../py/")


def test_numbers_have_limits_and_presets_stand_before_what_they_set(tmp_path: Path) -> None:
    source = copies.NUMBERED.replace(
        'badge = "formula"',
        'badge = "formula"\nlimits = {"speed": (0.5, 9e3, "any")}\n'
        'presets = {"Way": {"foot": {"speed": 1.5, "which": "b"}, "air": {"speed": 250}}}',
    )
    root = copies.small_root(tmp_path, numbered=source)
    assert figures.build("numbered", root / "figures" / "numbered.py", tmp_path / "made", root) is None
    html = frames.figure("numbered", tmp_path / "made" / "numbered", "../", "https://example.org/")
    preset, speed, which = BeautifulSoup(html, "html.parser").select(".moe-controls :is(input, select)")
    assert [option.text for option in preset.select("option")] == ["foot", "air", "own values"]
    values = [json.loads(str(option["value"])) for option in preset.select("option")[:-1]]
    assert values == [{"speed": 1.5, "which": "b"}, {"speed": 250}]
    assert [speed[key] for key in ("type", "min", "max", "step", "value")] == ["number", "0.5", "9000.0", "any", "2.5"]
    assert which["data-param"] == "which"
    label = speed.find_parent("label")
    assert label is not None
    assert [span.text for span in label.select("span")] == ["Speed (m/s)", "0.5 to 9,000"]


HOSTILE = (
    "</figure></text>--><script>alert('x')</script><img src=x onerror=\"y()\"> & {{ figure cost }} $x^2$ `z` **b**"
)
HOSTILE_FIGURE = copies.FIGURE.replace('"Two bars"', "HOSTILE").replace('"The second bar is taller."', "HOSTILE")
HOSTILE_FIGURE = HOSTILE_FIGURE.replace('"first"', "HOSTILE").replace(
    '"Two bars, of which the second is taller."', "HOSTILE"
)
HOSTILE_FIGURE = HOSTILE_FIGURE.replace(
    "title =", f"HOSTILE = {HOSTILE!r}\nsteps = (Step(HOSTILE, HOSTILE),)\ntitle =", 1
).replace("import Rows, Words", "import Rows, Step, Words")
HOSTILE_FIGURE = HOSTILE_FIGURE.replace(
    ".properties(",
    '.add_params(alt.param(name="which", value=HOSTILE, bind=alt.binding_select(options=[HOSTILE, "b"], name=HOSTILE)))'
    ".properties(title=HOSTILE, ",
)
HOSTILE_CELL = f"said = {HOSTILE!r}\nprint(said)\ntable = [{{'bar': said, 'height': 1.0}}]\n"


def test_hostile_text_stays_text_wherever_a_figure_or_a_cell_shows_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = copies.small_root(tmp_path, hostile=HOSTILE_FIGURE)
    (root / "figures" / "cells" / "hostile.py").write_text(HOSTILE_CELL)
    folder = root / "docs" / "assets" / "figures"
    failure = figures.build("hostile", root / "figures" / "hostile.py", folder, root)
    assert failure is None, failure
    monkeypatch.setattr(figures, "FOLDER", folder)
    monkeypatch.setattr(markdown, "ROOT", root)
    (folder.parent / "pyodide").mkdir()
    (folder.parent / "pyodide" / "sizes.json").write_text('{"first_run": 8123456}')
    page = rendered("{{ figure hostile }}\n\n{{ cell hostile }}\n")
    assert page.find(["script", "img", "b", "h1"]) is None
    assert not [tag for tag in page.find_all(True) if any(name.startswith("on") for name in tag.attrs)]
    assert text(page, ".moe-figure__title") == text(page, "figcaption") == HOSTILE
    assert text(page, ".moe-steps li span") == HOSTILE
    assert [option.text for option in page.find_all("option")] == [HOSTILE, "b"]
    assert page.find_all("option")[0]["value"] == json.dumps(HOSTILE)
    assert [picture["aria-label"] for picture in page.select(".moe-picture")] == [f"{HOSTILE}. {HOSTILE}"] * 2
    assert page.select(".moe-data td")[0].text == HOSTILE
    assert HOSTILE in [words.text for words in page.select("svg text")]
    assert text(page, ".moe-cell__code code").strip() == HOSTILE_CELL.strip()
    assert text(page, ".moe-cell__output pre") == f"{HOSTILE}\n"


def rendered(source: str) -> BeautifulSoup:
    """A page as the project's Markdown extensions make it, outside of any builder."""
    project = yaml.load((ROOT / "mkdocs.yml").read_text("utf-8"), yaml.BaseLoader)
    names, settings = list[str](), dict[str, Any]()
    for entry in project["markdown_extensions"]:
        name, options = next(iter(entry.items())) if isinstance(entry, dict) else (entry, {})
        names.append(name)
        settings[name] = options or {}
    return BeautifulSoup(Markdown(extensions=names, extension_configs=settings).convert(source), "html.parser")
