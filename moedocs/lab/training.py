"""Train a small byte-level model on text of several domains, one thread, the same bits for the same seed.

Shapes: B sequences · S sequence length · L layers · E experts
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from moedocs.config import TrainingConfig, TransformerConfig
from moedocs.engine import Output, Transformer, balancing_loss, load, pooled, sampling_loss, updated_l1_weight
from moedocs.lab.corpora import text
from moedocs.problem import Problem

VALIDATION_SEQUENCES = 16  # per domain
TEXT_SEED = 1_000_000  # text is drawn with seed + this: the same text for every model of one seed
ROUTING_SEED = 2_000_000  # and what a routing draws with seed + this


class TrainingError(Problem):
    """A training that left the finite numbers; the message says at which step."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training, whole: model, schedule, kinds of text, and the steps after which it is looked at."""

    model: TransformerConfig
    training: TrainingConfig
    domains: tuple[str, ...]
    look_at: tuple[int, ...] = ()


@dataclass(frozen=True)
class Look:
    """The model after `step` steps: nats per byte of validation text, and each layer's load as shares of one."""

    step: int
    validation_loss: float
    share_LE: list[list[float]]


@dataclass(frozen=True)
class Trained:
    """The model, the training loss before each step in nats per byte (no balancing loss in it), and the looks."""

    model: Transformer
    losses: list[float]
    looks: list[Look]


def train(run: Run, *, steps: int | None = None, on_step: Callable[[], object] = lambda: None) -> Trained:
    """Do the run, or only its first `steps` steps, which are the same steps."""
    config = run.training
    generator = torch.Generator().manual_seed(TEXT_SEED + config.seed)
    draws = torch.Generator().manual_seed(ROUTING_SEED + config.seed)
    train_texts = [_bytes(text(domain).train) for domain in run.domains]
    losses, looks = [], []
    with _one_thread():
        model = Transformer(run.model, generator=torch.Generator().manual_seed(config.seed))
        optimizer = torch.optim.AdamW(
            model.parameters(), config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        l1_weight = run.model.routing.balance.l1_weight if run.model.routing else 0.0
        for step in range(config.steps if steps is None else steps):
            if step in run.look_at:
                looks.append(look(model, run, step))
            optimizer.param_groups[0]["lr"] = config.learning_rate * min(1.0, (step + 1) / (config.warmup_steps + 1))
            loss, output = _step(model, optimizer, draw(train_texts, config, generator), step, l1_weight, draws)
            losses.append(loss)
            l1_weight = _next_l1_weight(l1_weight, run.model, output)
            on_step()
        if steps is None and config.steps in run.look_at:
            looks.append(look(model, run, config.steps))
    return Trained(model, losses, looks)


def draw(texts: list[Tensor], config: TrainingConfig, generator: torch.Generator) -> Tensor:
    """Sequences from random places, the domains in turn; one byte longer than S, for the targets."""
    rows = []
    for row in range(config.sequences):
        source = texts[row % len(texts)]
        start = int(torch.randint(len(source) - config.sequence_length, (), generator=generator))
        rows.append(source[start : start + config.sequence_length + 1])
    return torch.stack(rows)


def validation(domain: str, length: int) -> Tensor:
    """Evenly spaced sequences of a domain's validation text, one byte longer than `length`."""
    source = _bytes(text(domain).validation)
    stride = (len(source) - length - 1) // VALIDATION_SEQUENCES
    return torch.stack([source[row * stride : row * stride + length + 1] for row in range(VALIDATION_SEQUENCES)])


@torch.no_grad()
def look(model: Transformer, run: Run, step: int) -> Look:
    """Validation loss and load of the model as it stands, on the same bytes and with the same draws whatever the seed.

    In evaluation mode: routers that draw in training do not, BASE and Sinkhorn take the best experts.
    """
    bytes_BS = torch.cat([validation(domain, run.training.sequence_length) for domain in run.domains])
    model.eval()
    loss, output = _loss(model, bytes_BS, torch.Generator().manual_seed(ROUTING_SEED))
    model.train()
    shares = [counts_E / counts_E.sum() for counts_E in map(load, output.routings)]
    return Look(step, loss.item(), [share_E.tolist() for share_E in shares])


def _step(
    model: Transformer,
    optimizer: torch.optim.Optimizer,
    bytes_BS: Tensor,
    step: int,
    l1_weight: float,
    draws: torch.Generator,
) -> tuple[float, Output]:
    try:
        loss, output = _loss(model, bytes_BS, draws)
    except ValueError as error:  # the router refuses logits that are not finite
        raise TrainingError(f"training stopped at step {step}: {error}") from None
    optimizer.zero_grad()
    torch.autograd.backward(loss + _balancing(model.config, output, l1_weight))
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in model.parameters() if weight.grad is not None])
    if not (loss.isfinite() and norm.isfinite()):
        raise TrainingError(f"training stopped at step {step}: loss {loss.item()}, gradient norm {norm.item()}")
    optimizer.step()
    model.update_biases(output.routings)
    return loss.item(), output


def _loss(model: Transformer, bytes_BS: Tensor, draws: torch.Generator) -> tuple[Tensor, Output]:
    output: Output = model(bytes_BS[:, :-1], generator=draws)
    return cross_entropy(output.logits_BSV.flatten(0, 1), bytes_BS[:, 1:].flatten().long()), output


def _balancing(config: TransformerConfig, output: Output, l1_weight: float) -> Tensor:
    """What the config asks to add to the loss: for experts, and for depth where text is to be sampled."""
    loss = sampling_loss(output.depths, config.depth) if config.depth else torch.zeros(())
    if config.routing is None:
        return loss
    balance, num_sequences = config.routing.balance, len(output.logits_BSV)
    layers = [output.routings] if balance.auxiliary_pooled else [[routing] for routing in output.routings]
    for routings in layers:
        # inside a block that only some pass, a sequence is shorter
        length = len(routings[0].map_TE) // num_sequences
        loss = loss + balancing_loss(
            routings, balance, sequence_length=length, l1_weight=l1_weight, top_k=config.routing.top_k
        )
    return loss


def _next_l1_weight(weight: float, config: TransformerConfig, output: Output) -> float:
    """ReMoE's weight for the next step, steered by the experts that tokens had in this one; 0 stays 0."""
    if config.routing is None or not weight:
        return weight
    return updated_l1_weight(weight, pooled(output.routings), config.routing.top_k)


def _bytes(content: bytes) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.uint8)


@contextmanager
def _one_thread() -> Iterator[None]:
    """The order of sums depends on the number of threads, and so do the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
