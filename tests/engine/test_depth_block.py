"""The block that only some tokens pass through: its choices, its predictor, and what reaches the block inside."""

import math

import pytest
import torch
from torch import Tensor, nn

from moedocs.config import DepthConfig
from moedocs.engine import (
    DepthBlock,
    Predictor,
    causal_choice,
    predictor_loss,
    random_depth,
    top_c,
)
from moedocs.engine.depth import DepthRouting
from tests.drawing import random_logits
from tests.mixing import Mixing, slow_through

WIDTH, LENGTH = 4, 12
SOME = DepthConfig(capacity=0.25)
LEARNED = [DepthConfig(capacity=0.25, weight=weight) for weight in ("raw", "sigmoid")]
SAMPLED = [DepthConfig(capacity=0.25, sampling=sampling) for sampling in ("auxiliary", "predictor")]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(config: DepthConfig, block: Mixing | None = None) -> DepthBlock:
    return DepthBlock(block or Mixing(WIDTH), WIDTH, config, generator=generator())


@pytest.mark.parametrize("config", LEARNED)
def test_a_block_scores_its_input_chooses_and_lets_the_chosen_pass(config: DepthConfig) -> None:
    block, x_BSD = Mixing(WIDTH), random_logits(3, LENGTH, WIDTH)
    depth_block = built(config, block)
    out_BSD, routing, depth = depth_block(x_BSD)
    logits_BS = torch.stack([torch.stack([x_D @ depth_block.router_D for x_D in x_SD]) for x_SD in x_BSD])
    expected = top_c(logits_BS, 3, weight=config.weight)
    assert depth.index_BC.equal(expected.index_BC)
    torch.testing.assert_close(depth.weights_BS, expected.weights_BS)
    torch.testing.assert_close(out_BSD, slow_through(x_BSD, depth, block))
    assert routing is None


def test_all_that_learns_gets_a_gradient_and_a_random_choice_has_no_router() -> None:
    for config in (*LEARNED, *SAMPLED):
        block = built(config)
        out_BSD, _, depth = block(random_logits(3, LENGTH, WIDTH))
        loss = out_BSD.square().sum() + (predictor_loss(depth) if config.sampling == "predictor" else 0)
        names = [name for name, _ in block.named_parameters()]
        gradients = torch.autograd.grad(loss, list(block.parameters()))
        assert all(gradient.any() for gradient in gradients)
        assert {"router_D", "block.score_DD"} <= set(names)
    names = [name for name, _ in built(DepthConfig(capacity=0.25, router="random")).named_parameters()]
    assert all(name.startswith("block.") for name in names)


def test_the_same_seed_gives_the_same_block_and_no_other_randomness_is_touched() -> None:
    before = torch.get_rng_state()
    one, same = (built(SAMPLED[1]) for _ in range(2))
    other = DepthBlock(Mixing(WIDTH), WIDTH, SAMPLED[1], generator=generator(1))
    assert torch.get_rng_state().equal(before)
    for name, weights in one.named_parameters():
        assert weights.equal(same.get_parameter(name))
        assert weights.equal(other.get_parameter(name)) == name.startswith("block.")


def test_a_block_chooses_as_in_training_unless_it_is_told() -> None:
    block, x_BSD = built(SAMPLED[0]), random_logits(2, LENGTH, WIDTH)
    for chosen in (block.choose(x_BSD), block(x_BSD)[2]):
        assert chosen.map_BS.sum(1).tolist() == [3, 3]


def test_the_random_control_is_the_generator_s_choice_whatever_the_tokens() -> None:
    block = built(DepthConfig(capacity=0.25, router="random"))
    expected = random_depth((2, LENGTH), 3, generator=generator(7))
    for seed, causal in ((0, False), (1, False), (1, True)):
        x_BSD = random_logits(2, LENGTH, WIDTH, seed=seed)
        _, _, depth = block(x_BSD, causal=causal, generator=generator(7))
        assert depth.index_BC.equal(expected.index_BC)
    with pytest.raises(ValueError, match="router='random' needs a generator"):
        block(random_logits(2, LENGTH, WIDTH))


@pytest.mark.parametrize("config", SAMPLED)
def test_training_looks_ahead_and_sampling_does_not(config: DepthConfig) -> None:
    block, leaks = built(config), 0
    for seed in range(8):
        x_BSD = random_logits(1, LENGTH, WIDTH, seed=seed)
        changed_BSD = x_BSD.clone()
        changed_BSD[:, -1] = 3 * random_logits(1, WIDTH, seed=seed + 100)
        causal, other = (block(x, causal=True)[0][:, :-1] for x in (x_BSD, changed_BSD))
        torch.testing.assert_close(causal, other)
        trained, other = (block(x)[0][:, :-1] for x in (x_BSD, changed_BSD))
        leaks += not trained.allclose(other)
    assert leaks > 0


def test_sampling_listens_to_the_predictor_if_there_is_one_and_weighs_with_the_router() -> None:
    x_BSD = random_logits(2, LENGTH, WIDTH)
    for config in SAMPLED:
        block = built(config)
        logits_BS = x_BSD @ block.router_D
        judge_BS = logits_BS if block.predictor is None else block.predictor(x_BSD)
        _, _, depth = block(x_BSD, causal=True)
        assert depth.map_BS.equal(judge_BS > 0)
        assert depth.weights_BS.equal(torch.where(judge_BS > 0, logits_BS, 0.0))
    by_sigmoid = built(DepthConfig(capacity=0.25, sampling="auxiliary", weight="sigmoid"))
    _, _, depth = by_sigmoid(x_BSD, causal=True)
    assert depth.weights_BS.equal(torch.where(logits_BS > 0, logits_BS.sigmoid(), 0.0))
    with pytest.raises(ValueError, match="sampling='none' has learned no causal choice"):
        built(SOME)(x_BSD, causal=True)


def test_the_predictor_learns_from_the_model_and_never_moves_it() -> None:
    block, x_BSD = built(SAMPLED[1]), random_logits(3, LENGTH, WIDTH).requires_grad_()
    _, _, depth = block(x_BSD)
    names, parameters = zip(*block.named_parameters(), strict=True)
    gradients = torch.autograd.grad(predictor_loss(depth), [x_BSD, *parameters], allow_unused=True)
    moved = {name for name, gradient in zip(["x", *names], gradients, strict=True) if gradient is not None}
    assert moved == {"predictor.hidden_HD", "predictor.output_H"}


def test_the_predictor_is_a_small_network_that_judges_each_token_alone() -> None:
    predictor = Predictor(8, generator=generator())
    x_BSD = random_logits(2, 5, 8)
    for sequence in range(2):
        for position in range(5):
            hidden = (predictor.hidden_HD @ x_BSD[sequence, position]).tolist()
            silu = [h / (1 + math.exp(-h)) for h in hidden]
            expected = sum(s * w for s, w in zip(silu, predictor.output_H.tolist(), strict=True))
            assert predictor(x_BSD)[sequence, position].item() == pytest.approx(expected, rel=1e-4, abs=1e-6)
    assert [tuple(weights.shape) for weights in predictor.parameters()] == [(2, 8), (2,)]
    assert [tuple(weights.shape) for weights in Predictor(1, generator=generator()).parameters()] == [(1, 1), (1,)]


def test_a_predictor_can_learn_a_choice_that_a_line_decides() -> None:
    predictor, x_BSD = Predictor(16, generator=generator()), random_logits(8, 64, 16)
    optimiser = torch.optim.Adam(predictor.parameters(), lr=0.02)
    top = top_c(x_BSD[..., 0], 8)
    for _ in range(150):
        loss = predictor_loss(DepthRouting(top.logits_BS, top.weights_BS, top.map_BS, top.index_BC, predictor(x_BSD)))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    found = causal_choice(top.logits_BS, predictor(x_BSD))
    assert (found.map_BS == top.map_BS).float().mean() > 0.95


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_block_in_half_precision_chooses_in_float32(dtype: torch.dtype) -> None:
    for config in (*LEARNED, *SAMPLED):
        block = built(config).to(dtype)
        out_BSD, _, depth = block(random_logits(2, LENGTH, WIDTH).to(dtype))
        assert out_BSD.dtype == dtype
        assert {depth.logits_BS.dtype, depth.weights_BS.dtype} == {torch.float32}
        assert depth.predicted_BS is None or depth.predicted_BS.dtype == torch.float32


@pytest.mark.parametrize(("length", "passing"), [(1, 1), (4, 1), (5, 2), (9, 3)])
def test_a_sequence_has_its_share_of_places_rounded_up(length: int, passing: int) -> None:
    _, _, depth = built(SOME)(random_logits(2, length, WIDTH))
    assert depth.map_BS.sum(1).tolist() == [passing, passing]


def test_a_token_that_is_no_number_is_refused_with_its_place() -> None:
    x_BSD = random_logits(2, LENGTH, WIDTH)
    x_BSD[1, 5, 2] = math.nan
    with pytest.raises(ValueError, match="sequence 1 at position 5 is nan"):
        built(SOME)(x_BSD)


class Listening(nn.Module):
    """A block that keeps what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[Tensor | None, torch.Generator | None]] = []

    def delta(
        self,
        x_BCD: Tensor,
        positions_BC: Tensor,
        *,
        ids_BC: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, None]:
        self.heard.append((ids_BC, generator))
        return x_BCD, None


def test_the_chosen_tokens_ids_and_the_generator_reach_the_block() -> None:
    listening, chance, ids_BS = Listening(), generator(), torch.arange(2 * LENGTH).view(2, LENGTH)
    block = DepthBlock(listening, WIDTH, SOME, generator=generator())
    _, _, depth = block(random_logits(2, LENGTH, WIDTH), ids_BS=ids_BS, generator=chance)
    block(random_logits(2, LENGTH, WIDTH))
    (ids_BC, heard), (no_ids, no_generator) = listening.heard
    assert ids_BC is not None
    assert ids_BC.flatten().tolist() == ids_BS[depth.map_BS].tolist()
    assert heard is chance
    assert no_ids is None
    assert no_generator is None
