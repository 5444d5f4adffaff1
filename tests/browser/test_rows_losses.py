"""Row D3: a reader moves the load and sees the loss; and row L4: the cell under the figure redraws it."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from playwright.sync_api import Locator, Page, expect

from moedocs.engine import auxiliary_loss, softmax_top_k
from moedocs.lab.fingerprint import ROOT
from tests.browser.acting import button, ended, live_figure, marks, rows, write
from tests.browser.pages import CELLS, FIGURES

Visit = Callable[..., Page]
NAME = "auxiliary-loss"
CODE = (ROOT / "figures/cells/auxiliary_loss.py").read_text("utf-8")
EXPERTS, COUNTED = (4, 8, 16), {1: "choices, whatever k is", 2: "tokens, with k = 2"}


def tilt(figure: Locator, control: str, value: float) -> None:
    """Move a slider of tilts, from −2 to 2 in halves, as the keyboard does."""
    slider = figure.locator(f"[data-param={control}]")
    slider.press("Home")
    for _ in range(round(2 * (value + 2))):
        slider.press("ArrowRight")


def told(figure: Locator) -> tuple[float, str]:
    """The loss in the words above the picture, and all of them."""
    words = str(figure.evaluate("async figure => (await figure.wake()).chart.readout()"))
    found = re.search(r"Loss ([\d.]+)", words)
    assert found, words
    return float(found[1]), words


def by_engine(num_experts: int, load_tilt: float, probability_tilt: float) -> tuple[float, list[float]]:
    """Loss, and the push on each logit, of a batch whose tokens all have these probabilities, and of this load."""
    ladder = torch.linspace(1, 0, num_experts) * torch.tensor(2.0).log()
    logits_TE = (ladder * probability_tilt).repeat(5, 1).requires_grad_()
    loss = auxiliary_loss(softmax_top_k(logits_TE, 2), share_E=(ladder * load_tilt).softmax(0))
    (gradient_TE,) = torch.autograd.grad(loss, logits_TE)
    return loss.item(), (-gradient_TE.sum(0)).tolist()


def pushes(figure: Locator) -> list[str]:
    """The arrow of each expert that is pushed, from left to right: `plus` is up."""
    heads = figure.locator(".is-live .moe-chart svg.marks g[class*=part_gradient_heads] path").all()
    seen = [head for head in heads if head.get_attribute("opacity") != "0"]
    return [str(head.get_attribute("fill")).removeprefix("var(--moe-").removesuffix(")") for head in seen]


@pytest.mark.parametrize(
    ("num_experts", "load_tilt", "probability_tilt", "counted"),
    [(4, 1.5, -2.0, 1), (8, 2.0, 2.0, 1), (16, -1.0, 0.0, 1), (4, 0.0, 1.0, 1), (8, 1.0, 2.0, 2)],
)
def test_D3_a_reader_moves_load_and_probability_and_sees_the_loss_and_the_push_that_the_engine_gives(
    visit: Visit, num_experts: int, load_tilt: float, probability_tilt: float, counted: int
) -> None:
    figure = live_figure(visit(FIGURES[NAME]), NAME)
    slider = figure.locator("[data-param=num_experts]")
    slider.press("Home")
    for _ in range(EXPERTS.index(num_experts)):
        slider.press("ArrowRight")
    tilt(figure, "load_tilt", load_tilt)
    tilt(figure, "probability_tilt", probability_tilt)
    figure.locator("[data-param=counted]").select_option(label=COUNTED[counted])
    loss, push = by_engine(num_experts, load_tilt, probability_tilt)
    expect(figure.locator(".moe-live")).to_contain_text(f"Loss {loss * counted:.2f}")
    said, words = told(figure)
    assert said == pytest.approx(loss * counted, abs=0.0051)
    assert f"at perfect balance {counted}" in words
    assert ("pushes nothing" in words) == (load_tilt == 0)
    assert pushes(figure) == ["plus" if value > 0 else "minus" for value in push if abs(value) > 0.0005]


def test_D3_the_loss_falls_below_perfect_balance_while_the_load_stays_uneven(visit: Visit) -> None:
    figure = live_figure(visit(FIGURES[NAME]), NAME)
    values = []
    for value in (2.0, 1.0, 0.0, -1.0, -2.0):
        tilt(figure, "probability_tilt", value)
        expect(figure.locator(".moe-live")).to_contain_text(f"Loss {by_engine(4, 1.5, value)[0]:.2f}")
        values.append(told(figure)[0])
    assert values == sorted(values, reverse=True)
    assert values[2] == 1
    assert values[-1] < 0.9
    assert "less than at perfect balance" in told(figure)[1]


def test_L7_a_link_opens_the_state_that_was_left(visit: Visit) -> None:
    page = visit(f"{FIGURES[NAME]}?{NAME}.load_tilt=-1&{NAME}.probability_tilt=2&{NAME}.num_experts=8")
    assert told(live_figure(page, NAME))[0] == pytest.approx(by_engine(8, -1.0, 2.0)[0], abs=0.0051)


def test_L4_the_cell_redraws_the_figure_from_the_readers_own_formula(visit: Visit) -> None:
    page = visit(CELLS[NAME])
    figure = live_figure(page, NAME)
    before = marks(figure)
    cell = page.locator("moe-cell").first
    cell.scroll_into_view_if_needed()
    expect(cell.locator("[data-do=run]")).to_be_enabled()
    changed = CODE.replace("num_experts = 4", "num_experts = 6")
    assert changed != CODE
    write(cell, changed)
    button(cell, "Run").click()
    shown = ended(cell)
    assert "shows your result" in shown
    losses = [float(value) for value in re.findall(r"loss ([\d.]+)", shown)]
    assert losses == sorted(losses, reverse=True)
    drawn = rows(figure)
    assert {row["num_experts"] for row in drawn} == {6}
    for row in drawn:
        assert row["loss"] == pytest.approx(by_engine(6, row["load_tilt"], row["probability_tilt"])[0], abs=1e-5)
    assert marks(figure) != before
    expect(figure.locator(".moe-badge")).to_have_text("your own run")
