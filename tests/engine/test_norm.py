"""The norm written by hand against torch's, in values and gradients."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from moedocs.engine.norm import Norm
from tests.drawing import random_logits


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 9), st.floats(1e-3, 1e3), st.integers(0, 9))
def test_values_and_gradients_are_those_of_torchs_rms_norm(b: int, s: int, d: int, size: float, seed: int) -> None:
    found = []
    for kind in (Norm, nn.RMSNorm):
        norm = kind(d, eps=1e-5)
        norm.weight.data = random_logits(d, seed=seed)
        x_BSD = (random_logits(b, s, d, seed=seed + 1) * size).requires_grad_()
        y_BSD = norm(x_BSD)
        y_BSD.backward(random_logits(b, s, d, seed=seed + 2))
        assert x_BSD.grad is not None
        assert norm.weight.grad is not None
        found.append((y_BSD.detach(), x_BSD.grad * size, norm.weight.grad))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=2e-5 * (1 + float(theirs.abs().max())))


def test_the_gradient_is_that_of_small_changes() -> None:
    x_TD, weight_D = torch.randn(3, 5, dtype=torch.double), torch.randn(5, dtype=torch.double)
    norm = Norm(5, eps=1e-5, dtype=torch.double)

    def of(x_TD: torch.Tensor, weight_D: torch.Tensor) -> torch.Tensor:
        found_TD: torch.Tensor = torch.func.functional_call(norm, {"weight": weight_D}, (x_TD,))
        return found_TD

    assert torch.autograd.gradcheck(of, (x_TD.requires_grad_(), weight_D.requires_grad_()))


def test_a_token_of_zeros_stays_zero_and_has_a_finite_gradient() -> None:
    x_TD = torch.zeros(2, 4, requires_grad=True)
    Norm(4, eps=1e-5)(x_TD).sum().backward()
    assert x_TD.grad is not None
    assert x_TD.grad.isfinite().all()


def test_a_gradient_of_its_gradient_is_refused() -> None:
    x_TD = torch.ones(2, 4, requires_grad=True)
    (gradient_TD,) = torch.autograd.grad(Norm(4, eps=1e-5)(x_TD).square().sum(), x_TD, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        torch.autograd.backward(gradient_TD.sum())
