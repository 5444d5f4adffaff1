"""Training a small byte-level model on text of several domains: one thread, the same bits for the same seed.

Shapes: B sequences · S sequence length · L MoE layers · E experts
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from moedocs.config import TrainingConfig, TransformerConfig

# module by module: what no training runs may change without making trainings stale
from moedocs.engine.balance import balancing_loss, pooled, updated_l1_weight
from moedocs.engine.depth_sampling import sampling_loss
from moedocs.engine.transformer import Output, Transformer
from moedocs.lab import batches
from moedocs.lab.looks import Look, look, packed, unpacked
from moedocs.problem import Problem

TEXT_SEED = 1_000_000  # text is drawn with seed + this: the same text for every model of one seed
ROUTING_SEED = 2_000_000  # and what a routing draws with seed + this


class TrainingError(Problem):
    """A training that left the finite numbers; the message says at which step."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training, whole: model, schedule, kinds of text, and the steps after which it is looked at.

    `domains` are names of corpora, or paths of folders of a user's text. A training sequence is put together of so many
    `pieces`, each of another domain.
    """

    model: TransformerConfig
    training: TrainingConfig
    domains: tuple[str, ...]
    pieces: int = 1
    look_at: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.pieces <= len(self.domains):
            raise ValueError(f"pieces={self.pieces} must lie in 1..{len(self.domains)}, the number of domains")
        if self.look_at and not 0 <= min(self.look_at) <= max(self.look_at) <= self.training.steps:
            raise ValueError(f"look_at={self.look_at} must lie in 0..steps={self.training.steps}")


@dataclass(frozen=True, eq=False)
class Trained:
    """What a run leaves: the model, the losses before each step in nats per byte, and the looks.

    `losses` have no balancing in them, `balancing` is what that added.
    """

    run: Run
    model: Transformer
    losses: list[float]
    balancing: list[float]
    looks: list[Look]
    cpu_seconds: float


class Training:
    """A run under way, step by step, which can be written down between two steps and taken up again, bit for bit."""

    def __init__(self, run: Run) -> None:
        config = run.training
        self.run, self.step = run, 0
        self.losses: list[float] = []
        self.balancing: list[float] = []
        self.looks: list[Look] = []
        self.cpu_seconds = 0.0
        self._texts = batches.training_texts(run.domains)
        self._text_draws = Generator().manual_seed(TEXT_SEED + config.seed)
        self._routing_draws = Generator().manual_seed(ROUTING_SEED + config.seed)
        self.model = Transformer(run.model, generator=Generator().manual_seed(config.seed))
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), betas=config.betas, weight_decay=config.weight_decay, fused=True
        )
        self._l1_weight = run.model.routing.balance.l1_weight if run.model.routing else 0.0

    def advance(self) -> None:
        """Look, where it is time to, and take the next step."""
        start = time.thread_time()  # a process may train several models at a time
        with one_thread():
            self._look()
            self._take_step()
        self.step += 1
        self.cpu_seconds += time.thread_time() - start

    def finish(self) -> Trained:
        """The last look, and all that the run leaves, of as many steps as were taken."""
        with one_thread():
            self._look()
        self.model.eval()
        return Trained(self.run, self.model, self.losses, self.balancing, self.looks, self.cpu_seconds)

    def state(self) -> dict[str, Any]:
        """All that the next steps depend on, as tensors and plain values."""
        return {
            "step": self.step,
            "losses": self.losses,
            "balancing": self.balancing,
            "looks": [packed(one) for one in self.looks],
            "cpu_seconds": self.cpu_seconds,
            "draws": [draws.get_state() for draws in (self._text_draws, self._routing_draws)],
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "l1_weight": self._l1_weight,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from where `state` was taken."""
        self.step, self.cpu_seconds, self._l1_weight = state["step"], state["cpu_seconds"], state["l1_weight"]
        self.losses, self.balancing = state["losses"], state["balancing"]
        self.looks = [unpacked(one) for one in state["looks"]]
        for draws, content in zip((self._text_draws, self._routing_draws), state["draws"], strict=True):
            draws.set_state(content)
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])

    def _look(self) -> None:
        if self.step not in self.run.look_at:
            return
        try:
            seen = look(self.model, validation(self.run), len(self.run.domains), self.step)
        except ValueError as error:  # the router refuses logits that are not finite
            raise TrainingError(f"training stopped at step {self.step}: {error}") from None
        if not math.isfinite(seen.validation_loss):
            raise TrainingError(f"training stopped at step {self.step}: validation loss {seen.validation_loss}")
        self.looks.append(seen)

    def _take_step(self) -> None:
        config = self.run.training
        bytes_BS = batches.draw(
            self._texts, config.sequences, config.sequence_length, self.run.pieces, self._text_draws
        )
        try:
            loss, output = language_loss(self.model, bytes_BS, self._routing_draws)
        except ValueError as error:  # as in a look
            raise TrainingError(f"training stopped at step {self.step}: {error}") from None
        added = balancing(self.run, output, self._l1_weight)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss + added)
        norm = torch.nn.utils.get_total_norm([one.grad for one in self.model.parameters() if one.grad is not None])
        if not (loss.isfinite() and added.isfinite() and norm.isfinite()):
            raise TrainingError(
                f"training stopped at step {self.step}: loss {loss.item()}, balancing {added.item()}, "
                f"gradient norm {norm.item()}"
            )
        self._optimizer.param_groups[0]["lr"] = config.rate_at(self.step)
        self._optimizer.step()
        self.model.update_biases(output.routings)
        self.losses.append(loss.item())
        self.balancing.append(added.item())
        self._l1_weight = _next_l1_weight(self._l1_weight, self.run.model, output)


def train(run: Run, *, steps: int | None = None, on_step: Callable[[], object] = lambda: None) -> Trained:
    """Do the run, or only its first `steps` steps, which are the same steps."""
    training = Training(run)
    for _ in range(run.training.steps if steps is None else steps):
        training.advance()
        on_step()
    return training.finish()


def validation(run: Run) -> Tensor:
    """The bytes (B, S + 1) that a run is looked at by: inputs but for the last column, targets but for the first."""
    return batches.validation(run.domains, run.training.sequence_length)


def language_loss(model: Transformer, bytes_BS: Tensor, draws: Generator) -> tuple[Tensor, Output]:
    """Mean cross-entropy of each next byte, in nats, and the model's whole output."""
    output: Output = model(bytes_BS[:, :-1], generator=draws)
    return cross_entropy(output.logits_BSV.flatten(0, 1), bytes_BS[:, 1:].flatten().long()), output


def balancing(run: Run, output: Output, l1_weight: float) -> Tensor:
    """What the config asks to add to the loss: for experts, and for depth where text is to be sampled."""
    config = run.model
    loss = sampling_loss(output.depths, config.depth) if config.depth else torch.zeros(())
    if config.routing is None:
        return loss
    return loss + balancing_loss(
        output.routings,
        config.routing.balance,
        num_sequences=run.training.sequences,
        micro_batches=run.training.micro_batches,
        l1_weight=l1_weight,
        top_k=config.routing.top_k,
    )


def _next_l1_weight(weight: float, config: TransformerConfig, output: Output) -> float:
    """ReMoE's weight for the next step, steered by the experts that tokens had in this one; 0 stays 0."""
    if config.routing is None or not weight:
        return weight
    return updated_l1_weight(weight, pooled(output.routings), config.routing.top_k)


@contextmanager
def one_thread() -> Iterator[None]:
    """The order of sums depends on the number of threads, and so do the last bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
