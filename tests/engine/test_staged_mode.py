"""Staged MoDE: experts inside a block that only some tokens pass through."""

import pytest
import torch
from torch import Tensor, nn

from moedocs.config import DepthConfig, RoutingConfig
from moedocs.config.model import DepthWeight
from moedocs.engine import DepthBlock, MoELayer, Routing
from tests.drawing import random_logits

WIDTH, LENGTH = 4, 12
SOME = DepthConfig(capacity=0.25)


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Sparse(nn.Module):
    """A block whose every token goes to one of three experts, by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = MoELayer(WIDTH, 5, RoutingConfig(num_experts=3, top_k=1, renormalise=False), generator=generator())

    def delta(self, x_BCD: Tensor, positions_BC: Tensor, **_: object) -> tuple[Tensor, Routing | None]:
        out_BCD, routing = self.layer(x_BCD)
        return out_BCD, routing


@pytest.mark.parametrize("weight", ["raw", "sigmoid"])
def test_staged_mode_routes_the_chosen_to_experts_and_nobody_else(weight: DepthWeight) -> None:
    sparse, x_BSD = Sparse(), random_logits(3, LENGTH, WIDTH)
    block = DepthBlock(sparse, WIDTH, DepthConfig(capacity=0.25, weight=weight), generator=generator())
    out_BSD, routing, depth = block(x_BSD)
    assert routing.map_TE.sum().item() == 3 * 3
    for sequence in range(3):
        for position in range(LENGTH):
            x_D, token = x_BSD[sequence, position], None
            if depth.map_BS[sequence, position]:
                token = sequence * 3 + depth.index_BC[sequence].tolist().index(position)
                experts_D = sparse.layer.experts(x_D[None])[0]
                added_D = sum(routing.weights_TE[token, e] * experts_D[e] for e in range(3))
                x_D = x_D + depth.weights_BS[sequence, position] * added_D
            torch.testing.assert_close(out_BSD[sequence, position], x_D)


def test_staged_mode_trains_both_routers_through_the_chosen_alone() -> None:
    x_BSD = random_logits(3, LENGTH, WIDTH).requires_grad_()
    block = DepthBlock(Sparse(), WIDTH, SOME, generator=generator())
    out_BSD, _, depth = block(x_BSD)
    assert isinstance(block.block, Sparse)
    routers = [block.router_D, block.block.layer.router_ED]
    gradients = torch.autograd.grad((out_BSD - x_BSD).sum(), [x_BSD, *routers])
    assert not gradients[0][~depth.map_BS].any()
    assert all(gradient.any() for gradient in gradients)


def test_staged_mode_samples_without_padding_among_its_experts() -> None:
    sparse = Sparse()
    block = DepthBlock(sparse, WIDTH, DepthConfig(capacity=0.25, sampling="auxiliary"), generator=generator())
    x_BSD = random_logits(3, LENGTH, WIDTH)
    x_BSD[1] = -block.router_D.detach()  # nobody of this sequence passes
    _, routing, depth = block(x_BSD, causal=True)
    assert not depth.map_BS[1].any()
    assert routing.map_TE.sum(1).tolist() == [1] * int(depth.map_BS.sum())
    expected = sparse.layer.route(x_BSD[depth.map_BS])
    assert routing.map_TE.equal(expected.map_TE)
    _, nothing, depth = block(x_BSD[[1]], causal=True)
    assert nothing is None
    assert not depth.map_BS.any()
