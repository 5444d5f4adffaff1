"""The MoE layer beside other people's and the dense network that bounds it; `make bench ONLY="layer D256 K2"`.

One step is a forward and a backward pass of 2,048 tokens, in 16 sequences, through SwiGLU experts of width 2 D; the
gradients, of tokens and parameters, are thrown away after it. Time is process CPU time on one thread: the median over
pairs of steps, one of the layer and one of a dense SwiGLU network of width K * 2 D, which has the same active FLOPs but
no router. So 1 is the limit, and differences under 0.1 are noise. Memory is the most that torch holds during a step,
above what it held before. On a GPU the clock is the wall's.

Two peers drop tokens over capacity. They get 1.25 slots per assignment, and experts of their own with as many active
weights: gated ones in st-moe-pytorch, two matrices in mixture-of-experts. The others drop none. transformers' batched
form is left out where it would copy more than 4 GB of weights.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

os.environ.setdefault("KINETO_LOG_LEVEL", "9")  # the profiler tells of itself otherwise

import torch
from mixture_of_experts import MoE as MixtureOfExperts
from st_moe_pytorch import MoE as StMoe
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

from moedocs.config import RoutingConfig
from moedocs.engine import MoELayer, SwiGLU
from moedocs.engine.layer import Dispatch

TOKENS, SEQUENCES = 2048, 16
WIDTHS, EXPERTS, TOP_KS = (128, 256, 512), (8, 64), (1, 2, 8)
OURS: tuple[Dispatch, ...] = ("fast", "sorted", "grouped", "buffers")
TRANSFORMERS = ("eager", "batched_mm", "grouped_mm")
SECONDS, MOST_PAIRS, PROFILED = 12.0, 41, 7
MOST_GATHERED = 4e9
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

KINDS = {
    "matrix products": ("mm", "addmm_", "bmm"),
    "activation and weighting": ("silu", "silu_backward", "mul", "mul_", "sum"),
    "gather and scatter of rows": ("index_select", "index_add_", "index_add"),
    "choice of experts": ("_softmax", "topk", "argmax", "sort", "aminmax", "scatter_", "gather", "nonzero", "index"),
}

Setting = tuple[int, int, int]
Step = Callable[[], None]


def main(words: list[str]) -> None:
    """Print a row per contender and setting; words like D256, E64 and K2 pick settings, none of a letter all of it."""
    torch.set_num_threads(1)
    torch.ones(8_000_000)  # malloc keeps at hand as much as was once given back: so no contender has to teach it
    print(f"{'':<12} {'':<24} {'time':>6} {'memory':>7}  times those of the dense network, on {DEVICE}")
    for setting in product(WIDTHS, EXPERTS, TOP_KS):
        names = [f"{letter}{size}" for letter, size in zip("DEK", setting, strict=True)]
        if all(name in words or not any(word.startswith(name[0]) for word in words) for name in names):
            compare(setting, " ".join(names))


def compare(setting: Setting, title: str) -> None:
    """All contenders at one setting, each in turns with the dense network."""
    d_model, _, top_k = setting
    dense = step(SwiGLU(d_model, 2 * d_model * top_k, generator=torch.Generator()), d_model)
    least = peak(dense)
    print(f"{title:<12} {'dense':<24} {1:6.2f} {1:7.2f}  {cost(dense) * 1e3:.1f} ms, {least / 1e6:.0f} MB", flush=True)
    steps = {}
    for name, build in contenders(*setting):
        steps[name] = step(build(), d_model)
        print(f"{title:<12} {name:<24} {ratio(steps[name], dense):6.2f} {peak(steps[name]) / least:7.2f}", flush=True)
    if DEVICE == "cpu":
        for name, run in (("dense", dense), ("ours, fast", steps["ours, fast"])):
            print(f"{title:<12} where the time of {name} goes: {parts(run)}", flush=True)


def contenders(d_model: int, num_experts: int, top_k: int) -> Iterator[tuple[str, Callable[[], nn.Module]]]:
    """Our dispatches, then the peers that know this top-k."""
    config = RoutingConfig(num_experts=num_experts, top_k=top_k)
    for dispatch in OURS:
        yield (
            f"ours, {dispatch}",
            lambda: MoELayer(d_model, 2 * d_model, config, generator=torch.Generator(), dispatch=dispatch),  # noqa: B023
        )
    for way in TRANSFORMERS:
        if way != "batched_mm" or gathered(d_model, top_k) < MOST_GATHERED:
            yield f"transformers, {way}", lambda: mixtral(d_model, num_experts, top_k, way)  # noqa: B023
    slots = 1.25 * top_k  # for every token, over all experts
    if top_k > 1:
        yield (
            "st-moe-pytorch",
            lambda: StMoe(d_model, num_experts, expert_hidden_mult=3, gating_top_n=top_k, capacity_factor_train=slots),
        )
    if top_k == 2:
        yield (
            "mixture-of-experts",
            lambda: MixtureOfExperts(d_model, num_experts, hidden_dim=3 * d_model, capacity_factor_train=slots),
        )


def mixtral(d_model: int, num_experts: int, top_k: int, way: str) -> nn.Module:
    """transformers' block, filled: it starts empty."""
    config = MixtralConfig(
        hidden_size=d_model,
        intermediate_size=2 * d_model,
        num_local_experts=num_experts,
        num_experts_per_tok=top_k,
        experts_implementation=way,  # type: ignore[call-arg]
    )
    block: nn.Module = MixtralSparseMoeBlock(config)  # type: ignore[no-untyped-call]
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=d_model**-0.5)
    return block


def gathered(d_model: int, top_k: int) -> int:
    """Bytes of weights that transformers' batched form copies: those of an expert for every assignment, and as many
    again for their gradients."""
    return 2 * 4 * TOKENS * top_k * 3 * d_model * 2 * d_model


def step(module: nn.Module, d_model: int) -> Step:
    """A forward and a backward pass; what a layer returns beside its output is left alone."""
    module.to(DEVICE).train()
    x_BSD, pull_BSD = (torch.randn(SEQUENCES, TOKENS // SEQUENCES, d_model, device=DEVICE) for _ in range(2))
    x_BSD.requires_grad_()

    def run() -> None:
        out = module(x_BSD)
        y_BSD: Tensor = out if isinstance(out, Tensor) else out[0]
        torch.autograd.backward(y_BSD, pull_BSD)
        x_BSD.grad = None
        module.zero_grad()

    return run


def ratio(layer: Step, dense: Step) -> float:
    """How many times longer the layer takes: the median over pairs, of which a slow layer gets one."""
    layer()
    pairs: list[float] = []
    end = time.perf_counter() + SECONDS
    while not pairs or (time.perf_counter() < end and len(pairs) < MOST_PAIRS):
        pairs.append(cost(layer) / cost(dense))
    return median(pairs)


def cost(run: Step) -> float:
    """Seconds of one step."""
    started = now()
    run()
    return now() - started


def now() -> float:
    if DEVICE == "cpu":
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def parts(run: Step) -> str:
    """Milliseconds of a step in each kind of operation, the mean of several, as the profiler counts them."""
    run()
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(PROFILED):
            run()
    spent = dict.fromkeys((*KINDS, "the rest"), 0.0)
    for event in profiled.key_averages():
        kind = next((kind for kind, names in KINDS.items() if event.key.removeprefix("aten::") in names), "the rest")
        spent[kind] += event.self_cpu_time_total / 1e3 / PROFILED
    return ", ".join(f"{kind} {spent[kind]:.1f} ms" for kind in spent)


def peak(run: Step) -> int:
    """The most bytes that one step holds at a time."""
    run()
    if DEVICE == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    with TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profiled.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    changes = [event["args"] for event in events if event.get("name") == "[memory]"]
    changes.sort(key=lambda change: change["Ev Idx"])
    before = changes[0]["Total Allocated"] - changes[0]["Bytes"]
    return int(max(change["Total Allocated"] for change in changes) - before)


if __name__ == "__main__":
    main(sys.argv[1:])
