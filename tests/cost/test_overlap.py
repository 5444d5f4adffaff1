"""The share of a step that communication takes, against hand arithmetic."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moedocs.cost.atlas import models
from moedocs.cost.communication import Cluster, Exchange, Work, overlapped, sent_bytes, share_of_step
from moedocs.cost.devices import device
from moedocs.cost.forward import model_flops
from tests.cost.formulas import assert_each_formula_gives_its_number


@given(communication=st.floats(0, 1e3), computation=st.floats(0, 1e3), overlap=st.floats(0, 1))
def test_no_more_is_hidden_than_there_is_to_hide_behind(
    communication: float, computation: float, overlap: float
) -> None:
    found = overlapped(communication, computation, overlap)
    slack = 1e-9 * (communication + computation) + 1e-300
    assert max(communication, computation) <= found.step.value + slack
    assert found.step.value <= communication + computation + slack
    assert 0 <= found.share.value <= 1
    assert found.step.value == pytest.approx(computation + found.exposed.value)


def test_the_share_of_a_step_is_that_of_what_each_device_sends_and_computes() -> None:
    model, cluster = models()["mixtral-8x7b"].architecture, Cluster(devices=8)
    setting = Work(device=device("H100"), tokens=8192, sequence=4096, link=50e9, utilisation=0.5)
    training = Exchange(backward=True)
    sent = sent_bytes(model, cluster, 8192, training)
    found = share_of_step(model, cluster, training, setting)
    computing = model_flops(model, 4096, 2).training.causal / (989.4e12 * 0.5)
    sending = sent.within.value / 450e9
    assert found.step.value == pytest.approx(computing + sending)
    assert found.share.value == pytest.approx(sending / (computing + sending))
    forward = share_of_step(model, cluster, Exchange(), setting)  # a third of the products, half of the exchanges
    assert forward.step.value == pytest.approx(computing / 3 + sending / 2)
    assert share_of_step(model, cluster, training, replace(setting, overlap=1.0)).share.value == 0
    assert share_of_step(model, cluster, training, replace(setting, utilisation=1.0)).share.value > found.share.value
    slow = share_of_step(model, Cluster(devices=8, per_node=1), training, setting)
    assert slow.exposed.value == pytest.approx(9 * found.exposed.value)
    with pytest.raises(ValueError, match="tokens=8192 are not whole sequences of sequence=5"):
        Work(device=device("H100"), tokens=8192, sequence=5, link=50e9)
    with pytest.raises(ValueError, match="utilisation=0"):
        Work(device=device("H100"), tokens=8192, sequence=4096, link=50e9, utilisation=0)


def test_overlap_from_none_to_all() -> None:
    assert overlapped(1.0, 1.0, 0).share.value == 0.5
    assert overlapped(1.0, 1.0, 1).share.value == 0
    assert overlapped(3.0, 1.0, 1).exposed.value == 2
    assert overlapped(0, 0, 0.5).share.value == 0
    for quantity in (overlapped(3.0, 1.0, 0.25).exposed, overlapped(3.0, 1.0, 0.25).share):
        assert_each_formula_gives_its_number(quantity)
