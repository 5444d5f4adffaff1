"""The record of single tokens: its traces add up, and its tokens stand where it says."""

import pytest
import torch

from moedocs.lab import corpora, records
from moedocs.lab.experiments import one_token


@pytest.mark.parametrize("num_experts", one_token.NUM_EXPERTS)
def test_the_recorded_traces_are_what_the_layer_computes(num_experts: int) -> None:
    results = records.load("one-token").results
    traces = results["models"][f"experts-{num_experts}"]["traces"]
    assert len(traces) == len(results["tokens"]) == len(one_token.PLACES)
    for trace in traces:
        outputs_ED, weights_E = torch.tensor(trace["expert_outputs"]), torch.tensor(trace["weights"])
        logits_E = torch.tensor(trace["logits"])
        assert len(outputs_ED) == len(logits_E) == num_experts
        assert logits_E.topk(2).indices.tolist() == trace["chosen"]
        assert set(weights_E.nonzero().flatten().tolist()) == set(trace["chosen"])
        close(torch.tensor(trace["probabilities"]), logits_E.softmax(0))
        close(weights_E[trace["chosen"]], logits_E[trace["chosen"]].softmax(0))
        close(torch.tensor(trace["residual"]) + weights_E @ outputs_ED, torch.tensor(trace["output"]))


def test_the_recorded_tokens_stand_where_the_record_says() -> None:
    for token, place in zip(records.load("one-token").results["tokens"], one_token.PLACES, strict=True):
        assert token["token"].encode()[-1] == token["byte"]
        assert (token["before"] + token["token"]).endswith(place.phrase)
        assert token["before"] + token["token"] + token["after"] in corpora.text(place.domain).validation.decode()


def test_the_models_of_one_token_differ_in_the_number_of_experts_alone() -> None:
    apart = records.load("one-token").settings["runs"]
    assert apart == {f"experts-{n}": {"model.routing.num_experts": n} for n in one_token.NUM_EXPERTS}


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal but for the rounding of the record to four digits."""
    torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)
