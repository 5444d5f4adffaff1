"""What an exported model computes and writes: as good as the one that was trained, the same in NumPy, recognisable?

Shapes: B sequences · S sequence length · D kinds of text · E choices of a router
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from moedocs.engine import Transformer, normalised_mutual_information
from moedocs.lab.categories import Categories, by_domain
from moedocs.lab.corpora import text
from moedocs.lab.decoding import read, sampled
from moedocs.lab.export import called
from moedocs.lab.looks import Look
from moedocs.lab.preferences import routing_of, table
from moedocs.lab.recognition import Recogniser, copied
from moedocs.lab.training import Run, one_thread, validation
from moedocs.lite import forward_pass
from moedocs.lite.generate import generate
from moedocs.lite.weights import Model

TEMPERATURE = 0.75
PROMPT, WRITTEN = 48, 160  # bytes
COPIED = 24  # bytes in a row, hardly ever the same by chance


def torch_of(model: Model) -> Transformer:
    """The same model in torch, with the rounded numbers of the file."""
    twin = Transformer(model.config, generator=torch.Generator())
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in model.arrays.items()})
    return twin.eval()


def causal_loss(model: Transformer, run: Run) -> NDArray[np.float32]:
    """Nats per byte of each kind of validation text (D,) where depth is chosen as in writing."""
    with one_thread():
        loss_BS = read(model, validation(run), causal=True).loss_BS
    loss_D: NDArray[np.float32] = loss_BS.reshape(len(run.domains), -1).mean(1)
    return loss_D


@torch.no_grad()
def difference(model: Model, twin: Transformer, run: Run) -> dict[str, float]:
    """How far NumPy's logits are from torch's, on a validation sequence of each kind of text, routed as in writing."""
    bytes_BS = validation(run)[:: len(validation(run)) // len(run.domains), :-1]
    with one_thread():
        theirs = twin(bytes_BS, causal=True).logits_BSV.numpy()
    apart = np.abs(forward_pass(model.arrays, model.config, bytes_BS.numpy(), causal=True).logits_BSV - theirs)
    return {"largest": float(apart.max()), "mean": float(apart.mean()), "largest_logit": float(np.abs(theirs).max())}


def domain_information(seen: Look, run: Run) -> list[float]:
    """Normalised mutual information of kind of text and expert, of each MoE layer, over the tokens that came to it."""
    kinds = by_domain(run.domains, validation(run)[:, :-1])
    passed = dict(zip(run.model.depth_blocks, map(torch.from_numpy, seen.passed), strict=True))
    layers = zip(run.model.moe_blocks, seen.maps, strict=True)
    found = []
    for number, map_TE in layers:
        kind_T = kinds.label_T[passed[number].flatten()] if number in passed else kinds.label_T
        counts_DE = table(routing_of(torch.from_numpy(map_TE)), Categories(kinds.names, kind_T))
        found.append(normalised_mutual_information(counts_DE).item())
    return found


def depth_choice(model: Transformer, run: Run) -> dict[str, Any]:
    """Of the blocks that only some pass: how well a causal choice tells the top C."""
    bytes_BS = validation(run)
    with one_thread():
        found = sampled(read(model, bytes_BS), read(model, bytes_BS, causal=True))
    return {name: found[name] for name in ("predicted", "reached")}


def writing(model: Model, domains: tuple[str, ...], num_prompts: int) -> dict[str, Any]:
    """What the model writes after prompts from validation text, judged beside what really follows there.

    The samples are those after the first prompt of each kind of text, whatever came of it.
    """
    texts = [text(domain).train for domain in domains]
    recogniser = Recogniser(texts)
    written: list[list[bytes]] = []
    real: list[list[bytes]] = []
    samples = []
    for kind, domain in enumerate(domains):
        prompts = _prompts(text(domain).validation, num_prompts)
        written.append([written_after(model, prompt, [kind, number]) for number, (prompt, _) in enumerate(prompts)])
        real.append([following for _, following in prompts])
        recognised = domains[recogniser.kind(written[-1][0])]
        samples.append(_sample(called(domain), prompts[0][0], written[-1][0], called(recognised)))
    return {
        "samples": samples,
        "written": _judged(recogniser, written, texts),
        "real": _judged(recogniser, real, texts),
    }


def written_after(model: Model, prompt: bytes, seed: list[int]) -> bytes:
    """A sample of `WRITTEN` bytes; the same seed is the same draws, in a page too."""
    draws = np.random.default_rng(seed)
    return generate(model.arrays, model.config, prompt, WRITTEN, temperature=TEMPERATURE, generator=draws).text


def _prompts(source: bytes, count: int) -> list[tuple[bytes, bytes]]:
    """From evenly spaced places some `PROMPT` bytes of whole characters, and what follows them."""
    stride, found = (len(source) - PROMPT - WRITTEN) // count, []
    for place in range(0, stride * count, stride):
        start, end = _boundary(source, place), _boundary(source, place + PROMPT)
        found.append((source[start:end], source[end : end + WRITTEN]))
    return found


def _boundary(source: bytes, place: int) -> int:
    """The place, or the one before it where a character of several bytes starts."""
    while place and source[place] & 0b1100_0000 == 0b1000_0000:
        place -= 1
    return place


def _sample(domain: str, prompt: bytes, written: bytes, recognised: str) -> dict[str, str]:
    text_of = {"prompt": prompt, "written": written}
    shown = {name: content.decode(errors="replace") for name, content in text_of.items()}
    return {"domain": domain, **shown, "recognised": recognised}


def _judged(recogniser: Recogniser, found: list[list[bytes]], texts: list[bytes]) -> dict[str, float]:
    """Shares: texts recognised, 4-grams that their own kind has and that the others have on average, bytes copied."""
    kinds = [kind for kind, rows in enumerate(found) for _ in rows]
    rows = [row for rows in found for row in rows]
    known_ND = np.array([recogniser.known_D(row) for row in rows])
    own_ND = np.eye(len(texts), dtype=bool)[kinds]
    return {
        "recognised": float(np.mean([recogniser.kind(row) == kind for kind, row in zip(kinds, rows, strict=True)])),
        "own_grams": float(known_ND[own_ND].mean()),
        "other_grams": float(known_ND[~own_ND].mean()) if len(texts) > 1 else 0.0,
        "copied": float(np.mean([copied(row, texts[kind], COPIED) for kind, row in zip(kinds, rows, strict=True)])),
    }
