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
from moedocs.engine import Output, Routing, Transformer, auxiliary_loss, load
from moedocs.lab.corpora import text
from moedocs.problem import Problem

VALIDATION_SEQUENCES = 16  # per domain
TEXT_SEED = 1_000_000  # text is drawn with seed + this: the same text for every model of one seed


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
    train_texts = [_bytes(text(domain).train) for domain in run.domains]
    losses, looks = [], []
    with _one_thread():
        model = Transformer(run.model, generator=torch.Generator().manual_seed(config.seed))
        optimizer = torch.optim.AdamW(
            model.parameters(), config.learning_rate, betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        for step in range(config.steps if steps is None else steps):
            if step in run.look_at:
                looks.append(look(model, run, step))
            optimizer.param_groups[0]["lr"] = config.learning_rate * min(1.0, (step + 1) / (config.warmup_steps + 1))
            losses.append(_step(model, optimizer, draw(train_texts, config, generator), step))
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
    """Validation loss and load of the model as it stands, on the same bytes whatever the seed."""
    bytes_BS = torch.cat([validation(domain, run.training.sequence_length) for domain in run.domains])
    loss, output = _loss(model, bytes_BS)
    shares = [counts_E / counts_E.sum() for counts_E in map(load, output.routings)]
    return Look(step, loss.item(), [share_E.tolist() for share_E in shares])


def _step(model: Transformer, optimizer: torch.optim.Optimizer, bytes_BS: Tensor, step: int) -> float:
    try:
        loss, output = _loss(model, bytes_BS)
    except ValueError as error:  # the router refuses logits that are not finite
        raise TrainingError(f"training stopped at step {step}: {error}") from None
    optimizer.zero_grad()
    torch.autograd.backward(loss + _balancing(model, output.routings))
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in model.parameters() if weight.grad is not None])
    if not (loss.isfinite() and norm.isfinite()):
        raise TrainingError(f"training stopped at step {step}: loss {loss.item()}, gradient norm {norm.item()}")
    optimizer.step()
    model.update_biases(output.routings)
    return loss.item()


def _loss(model: Transformer, bytes_BS: Tensor) -> tuple[Tensor, Output]:
    output: Output = model(bytes_BS[:, :-1])
    return cross_entropy(output.logits_BSV.flatten(0, 1), bytes_BS[:, 1:].flatten().long()), output


def _balancing(model: Transformer, routings: list[Routing]) -> Tensor:
    """The auxiliary losses of all layers, added up and weighted."""
    weight = model.config.routing.balance.auxiliary_weight if model.config.routing else 0.0
    if weight == 0.0:
        return torch.zeros(())
    return weight * torch.stack([auxiliary_loss(routing) for routing in routings]).sum()


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
