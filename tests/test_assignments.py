"""The figure of six ways to assign: each row against the model in torch and the rules themselves."""

from itertools import groupby
from operator import itemgetter
from types import ModuleType
from typing import Any

import pytest
import torch

from moedocs.lab.exported import torch_of
from moedocs.lab.fingerprint import ROOT
from moedocs.lite.weights import load as model_of
from moedocs.site.figure import load, paths

Row = dict[str, Any]
ALONE = ("token choice", "random second", "hash of the byte")


@pytest.fixture(scope="module")
def figure() -> ModuleType:
    return load(paths(ROOT)["assignments"])


@pytest.fixture(scope="module")
def rows(figure: ModuleType) -> list[Row]:
    found: list[Row] = figure.data()
    return found


def test_the_probabilities_are_those_of_the_same_model_in_torch(figure: ModuleType, rows: list[Row]) -> None:
    twin = torch_of(model_of(ROOT / "figures" / "models" / "moe.npz"))
    for name, text in figure.TEXTS.items():
        with torch.no_grad():
            routings = twin(torch.tensor([list(text.encode())])).routings
        for layer, routing in enumerate(routings, 1):
            shown = [
                row["probability"] for row in rows if (row["text"], row["layer"]) == (name, layer) and row["expert"]
            ]
            assert torch.tensor(shown) == pytest.approx(routing.probs_TE.flatten(), abs=6e-4)


def test_every_text_has_as_many_bytes_as_the_figure_says(figure: ModuleType) -> None:
    assert {len(text.encode()) for text in figure.TEXTS.values()} == {figure.TOKENS}


def test_a_token_that_chooses_by_itself_has_the_same_experts_however_the_text_goes_on(rows: list[Row]) -> None:
    assert not any(row["moved"] for row in rows if row["rule"] in ALONE)
    assert {row["rule"] for row in rows if row["moved"]} == {"expert choice", "BASE", "Sinkhorn"}


def test_a_moved_token_has_other_experts_in_the_whole_text(figure: ModuleType, rows: list[Row]) -> None:
    keys = ("text", "layer", "rule", "token")
    whole = {itemgetter(*keys)(row): row["experts"] for row in rows if row["tokens"] == figure.TOKENS}
    assert all(
        row["moved"] == (row["experts"] != whole[itemgetter(*keys)(row)]) for row in rows if row["rule"] is not None
    )


def test_the_busiest_expert_and_the_tokens_without_one_are_those_that_the_rows_list(rows: list[Row]) -> None:
    key = itemgetter("text", "layer", "rule", "tokens")
    for _, group in groupby(sorted((row for row in rows if row["rule"]), key=key), key=key):
        tokens = list(group)
        chosen = [expert for row in tokens for expert in row["experts"].split()]
        assert {row["busiest"] for row in tokens} == {max(map(chosen.count, chosen))}
        assert [row["unserved"] for row in tokens] == [int(not row["experts"]) for row in tokens]


def test_expert_choice_takes_by_each_column_alone(figure: ModuleType, rows: list[Row]) -> None:
    probs_TE = figure.logits_of(figure.TEXTS["C++"])[1].softmax(-1)
    shown = [row for row in figure.table(rows) if row["rule"] == "expert choice"]
    for expert, probs_T in enumerate(probs_TE.T, 1):
        taken = {row["token"] - 1 for row in shown if str(expert) in row["experts"].split()}
        assert taken == set(probs_T.topk(figure.TOKENS * 2 // 8).indices.tolist())


def test_base_gives_no_less_than_any_even_assignment_that_swaps_two_tokens(figure: ModuleType) -> None:
    logits_TE = figure.logits_of(figure.TEXTS["C++"])[1]
    expert_T = figure.routings("C++", 2)["BASE"].map_TE.int().argmax(1)
    assert expert_T.bincount().tolist() == [figure.TOKENS // 8] * 8
    own_T = logits_TE.gather(1, expert_T[:, None])[:, 0]
    swapped_TT = logits_TE[:, expert_T]  # what token t has at the expert of token u
    assert (swapped_TT + swapped_TT.T <= own_T[:, None] + own_T + 1e-5).all()


def test_the_busiest_expert_of_the_hash_is_a_matter_of_the_table_drawn(figure: ModuleType, rows: list[Row]) -> None:
    told = {name: one.value for name, one in figure.facts(rows).items()}
    assert figure.hashed(figure.seed) == pytest.approx(told["hash-of-the-byte-busiest"])
    assert told["hash-draws-least"] < told["token-choice-busiest"] < told["hash-draws-most"]


def test_the_router_favours_one_expert_for_every_space_and_those_left_over_are_spaces(figure: ModuleType) -> None:
    text = figure.TEXTS["C++"]
    favoured_T = figure.logits_of(text)[1].argmax(1)
    assert len({int(favoured_T[at]) for at, letter in enumerate(text) if letter == " "}) == 1
    served_T = figure.routings("C++", 2)["expert choice"].map_TE.sum(1)
    assert {text[at] for at, served in enumerate(served_T) if served == 0} == {" "}
    assert text[int(served_T.argmax())] == "r"
