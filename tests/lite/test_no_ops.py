"""Integrated MoDE in NumPy against torch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from moedocs import engine, lite
from tests.strategies import Case, cases


@given(cases(least_tokens=1), st.data(), st.integers(0, 5))
def test_who_skips_and_how_many_choices_do_equal_torch(case: Case, data: st.DataObject, slots: int) -> None:
    real = data.draw(st.integers(1, case.num_experts))
    theirs = engine.with_capacity(engine.softmax_top_k(torch.from_numpy(case.logits_TE), case.top_k), slots)
    ours = lite.with_capacity(lite.softmax_top_k(case.logits_TE, case.top_k), slots)
    assert lite.residual_alone(ours, real).tolist() == engine.residual_alone(theirs, real).tolist()
    assert lite.no_op_share(ours, real) == pytest.approx(engine.no_op_share(theirs, real).item())


def test_both_twins_refuse_the_same_nonsense_in_the_same_words() -> None:
    messages = []
    for room, zeros in ((engine, torch.zeros), (lite, np.zeros)):
        for name, real in (("residual_alone", 0), ("no_op_share", 6), ("no_op_share", 5)):
            with pytest.raises(ValueError, match=r"no-op share of 0|must lie in") as refusal:
                getattr(room, name)(room.softmax_top_k(zeros((0, 5)), 1), real)
            messages.append(str(refusal.value))
    assert messages[:3] == messages[3:]
