"""Trainings too large for one CPU: the same runs on a GPU, or on several processes that torchrun started.

Every rank draws the text of the whole step and takes its rows, so that one process and several go down the same losses
but for rounding. What they leave is what `lab.store` keeps of any training.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor
from tqdm import tqdm

from moedocs.engine import Output, Transformer, pooled, updated_l1_weight
from moedocs.lab import batches
from moedocs.lab.fingerprint import fingerprint
from moedocs.lab.scale import refuse_too_little_text
from moedocs.lab.store import FOLDER, Store, kept
from moedocs.lab.training import Run, Trained, Training, TrainingError, balancing, language_loss
from moedocs.parallel import (
    Channel,
    ParallelError,
    World,
    at_home,
    divided,
    gradient_norm,
    joint_mean,
    local_parameters,
    moved,
    part,
    share_gradients,
    whole,
    whole_state,
)

SAVE_EVERY = 2_000  # steps between two checkpoints

Result = TypeVar("Result")
Work = Callable[[str, Mapping[str, Run], Store], None]


class LargeTraining(Training):
    """A run under way on the ranks of a world, each of which must do with it what the others do.

    On GPUs matrix products are in bfloat16 (`rounded`), while weights, routers, the residual stream and losses stay
    in float32. Looks are taken on rank 0, of the whole model in float32.
    """

    def __init__(self, run: Run, world: World, channel: Channel, *, rounded: bool | None = None) -> None:
        world.share(run.training.sequences, "sequences of a step")
        super().__init__(run)
        self.world, self.channel = world, channel
        self.rounded = world.device.type == "cuda" if rounded is None else rounded
        self.model = divided(self.model, world)
        config = run.training
        self._optimizer = torch.optim.AdamW(
            self.model.parameters(), betas=config.betas, weight_decay=config.weight_decay, fused=True
        )

    def finish(self) -> Trained:
        """The last look, and all that the run leaves; the looks on rank 0 alone."""
        done = super().finish()
        return replace(done, model=self._whole_model().cpu().eval())

    def state(self) -> dict[str, Any]:
        """All that the next steps depend on, with the experts of all ranks, on every rank: any number can go on."""
        own = super().state()
        state = own | {"model": whole_state(self.model, self.world)}
        state["optimizer"] = self._per_weight(own["optimizer"], whole)
        return {name: moved(value, torch.device("cpu")) for name, value in state.items()}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from where `state` was taken, by as many processes as there were then or by others."""
        local = self._local()
        model = {name: part(one, self.world) if name in local else one for name, one in state["model"].items()}
        super().resume(state | {"model": model, "optimizer": self._per_weight(state["optimizer"], part)})

    def _look(self) -> None:
        if self.step not in self.run.look_at:
            return
        divided_model, failure = self.model, None
        whole_model = self._whole_model()
        if self.world.rank == 0:
            try:
                self.model = at_home(whole_model)
                super()._look()
            except TrainingError as error:
                failure = str(error)
            self.model = divided_model
        if failure := self.channel.told(failure):
            raise TrainingError(failure)

    def _take_step(self) -> None:
        config = self.run.training
        bytes_BS = batches.draw(
            self._texts, config.sequences, config.sequence_length, self.run.pieces, self._text_draws
        )
        loss, output = self._forward(part(bytes_BS, self.world).to(self.world.device))
        added = balancing(self.run, output, self._l1_weight)
        self._optimizer.zero_grad()
        torch.autograd.backward(loss + added)
        share_gradients(self.model, self.world)
        found = joint_mean(torch.stack([loss.detach(), added.detach().to(loss)]), self.world)
        self._check(found[0].item(), found[1].item(), gradient_norm(self.model, self.world).item())
        self._optimizer.param_groups[0]["lr"] = config.rate_at(self.step)
        self._optimizer.step()
        self.model.update_biases(output.routings)
        if self._l1_weight and self.run.model.routing:
            self._l1_weight = updated_l1_weight(self._l1_weight, pooled(output.routings), self.run.model.routing.top_k)

    def _forward(self, bytes_BS: Tensor) -> tuple[Tensor, Output]:
        try:
            with torch.autocast(self.world.device.type, torch.bfloat16, enabled=self.rounded):
                return language_loss(self.model, bytes_BS, self._routing_draws)
        except ValueError as error:  # routers refuse logits that are not finite, on all ranks
            raise TrainingError(f"training stopped at step {self.step}: {error}") from None

    def _check(self, loss: float, added: float, norm: float) -> None:
        """All three are the same on every rank, so that all stop or none."""
        if not all(abs(value) < float("inf") for value in (loss, added, norm)):
            raise TrainingError(
                f"training stopped at step {self.step}: loss {loss}, balancing {added}, gradient norm {norm}"
            )
        self.losses.append(loss)
        self.balancing.append(added)

    def _whole_model(self) -> Transformer:
        """The model that one process would have, on this rank's device, sharing what this rank has whole."""
        with torch.device("meta"):
            model = Transformer(self.run.model, generator=Generator())
        model.load_state_dict(whole_state(self.model, self.world), assign=True)
        return model

    def _local(self) -> set[str]:
        own = set(map(id, local_parameters(self.model)))
        return {name for name, weight in self.model.named_parameters() if id(weight) in own}

    def _per_weight(self, optimizer: dict[str, Any], change: Callable[[Tensor, World], Tensor]) -> dict[str, Any]:
        """The optimizer's state with `change` made to what it keeps of experts."""
        local, names = self._local(), [name for name, _ in self.model.named_parameters()]
        state = {
            index: {
                key: change(value, self.world) if names[index] in local and value.ndim else value
                for key, value in kept.items()
            }
            for index, kept in optimizer["state"].items()
        }
        return optimizer | {"state": state}


def large_store(folder: Path = FOLDER / "large") -> Store:
    """Where finished trainings of this code lie; those under way lie in `begun` beside them."""
    return Store(folder / fingerprint("moedocs.lab.large"))


def trained(
    run: Run,
    world: World,
    channel: Channel,
    begun: Store | None = None,
    *,
    save_every: int = SAVE_EVERY,
    on_step: Callable[[int], object] = lambda step: None,
) -> dict[str, Any]:
    """Do a run, or go on with it if it has a checkpoint; what it leaves as a `Store` keeps it. Every rank must call it.

    Checkpoints are written by rank 0, into its `begun`.
    """
    start = time.monotonic()
    training = LargeTraining(run, world, channel)
    state = channel.told(begun.contents(run) if begun and begun.holds(run) else None)
    if state is not None:
        training.resume(state)
    try:
        while training.step < run.training.steps:
            on_step(training.step)
            training.advance()
            if training.step % save_every == 0:
                state = training.state()
                if begun is not None:
                    begun.put(run, state)
        done = training.finish()
    except TrainingError as error:
        return {"failure": str(error), "cpu_seconds": training.cpu_seconds}
    on_step(training.step)
    return kept(done) | {"device_seconds": world.size * (time.monotonic() - start)}


def conducted(world: World, lead: Callable[[Work], Result]) -> Result | None:
    """What `lead` gives on rank 0, which may call the work it is handed; the other ranks train what it asks for.

    The work is that of `lab.workers`: it does trainings, by name, and keeps what they leave in a store. It raises
    Problem for a run that the text it names is too little for.
    """
    channel = Channel(world)
    if world.rank:
        while (run := channel.told()) is not None:
            trained(run, world, channel)
        return None

    def work(name: str, runs: Mapping[str, Run], store: Store) -> None:
        begun = Store(store.root / "begun")
        for key, run in runs.items():
            refuse_too_little_text(run)
            channel.told(run)
            with tqdm(total=run.training.steps, desc=f"{name} {key}", unit="step", dynamic_ncols=True) as bar:
                content = trained(run, world, channel, begun, on_step=partial(_show, bar))
            store.put(run, content)
            begun.forget(run)

    try:
        result = lead(work)
    except ParallelError:
        raise  # there is nobody to tell
    except BaseException:
        channel.told(None)
        raise
    channel.told(None)
    return result


def _show(bar: Any, step: int) -> None:
    bar.update(step - bar.n)
