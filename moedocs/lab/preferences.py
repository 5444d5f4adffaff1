"""What experts tell of the categories of their tokens: how much, how surely, and how much something simpler tells.

Shapes: B sequences · S sequence length · T = B * S tokens, row by row · E experts · K experts of a token ·
        X categories · V bytes that occur · N repetitions
"""

from collections.abc import Callable, Iterable
from statistics import mean, stdev

import torch
from torch import Generator, Tensor
from torch.nn.functional import one_hot

from moedocs.engine import (
    category_load,
    choice_overlap,
    expert_matching,
    hash_routing,
    hash_table,
    mutual_information,
    normalised_mutual_information,
    renamed,
    shuffled,
)
from moedocs.engine.record import Routing, listed
from moedocs.lab.categories import VOCAB, Categories

NORMAL_95 = 1.96
Columns = dict[str, list[float]]


def routing_of(map_TE: Tensor) -> Routing:
    """The Routing of who went where, for what reads only that: the choices in no order, their weights all equal."""
    share_TE = map_TE / map_TE.sum(1, keepdim=True).clamp_min(1)
    return Routing(share_TE, share_TE, map_TE, share_TE, listed(share_TE, map_TE), torch.zeros_like(map_TE))


def table(routing: Routing, categories: Categories, byte_T: Tensor | None = None) -> Tensor:
    """How many tokens of each category chose each expert (X, E), or apart for each byte that occurs (V, X, E)."""
    num = len(categories.names)
    if byte_T is None:
        return category_load(routing, categories.label_T, num)
    occurring, number_T = _numbered(byte_T)
    counts = category_load(routing, number_T * num + categories.label_T, occurring * num)
    return counts.view(occurring, num, -1)


def sequence_tables(routing: Routing, categories: Categories, rows: int, byte_T: Tensor | None = None) -> Tensor:
    """The same apart for each of B sequences: (B, X, E) or (B, V, X, E)."""
    num, row_T = len(categories.names), torch.arange(rows).repeat_interleave(len(categories.label_T) // rows)
    in_rows = Categories(categories.names * rows, row_T * num + categories.label_T)
    counts = table(routing, in_rows, byte_T)
    apart = counts.view(*counts.shape[:-2], rows, num, counts.shape[-1])
    return apart if byte_T is None else apart.transpose(0, 1)


def told(counts: Tensor) -> dict[str, float]:
    """What experts tell of categories, from counts (X, E) or (V, X, E): in nats, and over the mean of the entropies."""
    return {
        "information": mutual_information(counts).item(),
        "normalised": normalised_mutual_information(counts).item(),
        **corrected(counts),
    }


def corrected(counts: Tensor) -> dict[str, float]:
    """The same two, less what Miller and Madow estimate that chance adds."""
    return {
        "corrected": mutual_information(counts, corrected=True).item(),
        "normalised_corrected": normalised_mutual_information(counts, corrected=True).item(),
    }


def columns(rows: Iterable[dict[str, float]]) -> Columns:
    """One list per name instead of one dictionary per row."""
    listed_rows = list(rows)
    return {name: [row[name] for row in listed_rows] for name in listed_rows[0]}


def interval(tables: Tensor, strata: int, *, times: int, generator: Generator) -> dict[str, list[float]]:
    """95 % intervals of the corrected values: 1.96 standard deviations when whole sequences are drawn anew.

    `tables` are those of each sequence (B, …); they are drawn with replacement within each of equal strata. Sequences
    and not tokens, since the tokens of one are not independent. A sequence drawn twice seems surer than it is, which
    moves the values of such draws, not their spread: so the interval stands around what was measured.
    """
    size = len(tables) // strata
    drawn = torch.randint(size, (times, strata, size), generator=generator) + size * torch.arange(strata)[:, None]
    weight_NB = torch.zeros(times, len(tables), dtype=torch.double)
    weight_NB.scatter_add_(1, drawn.flatten(1), torch.ones(times, len(tables), dtype=torch.double))
    again = (weight_NB @ tables.flatten(1).double()).view(times, *tables.shape[1:])
    found, middle = columns(map(told, again)), told(tables.sum(0))
    around = {
        name: NORMAL_95 * torch.tensor(found[name]).std().item() for name in ("corrected", "normalised_corrected")
    }
    return {name: [middle[name] - half, middle[name] + half] for name, half in around.items()}


def repeated(tell: Callable[[Generator], Tensor], times: int, generator: Generator) -> dict[str, dict[str, float]]:
    """Mean and standard deviation of what counts tell that are drawn so often."""
    found = columns(told(tell(generator)) for _ in range(times))
    return {name: {"mean": mean(values), "spread": stdev(values)} for name, values in found.items()}


def dealt(routing: Routing, categories: Categories, generator: Generator, byte_T: Tensor | None = None) -> Tensor:
    """Counts when categories are dealt out anew among all tokens, or with `byte_T` among those of the same byte."""
    label_T = shuffled(categories.label_T, generator=generator, byte_T=byte_T)
    return table(routing, Categories(categories.names, label_T), byte_T)


def dealt_to_sequences(routing: Routing, categories: Categories, rows: int, generator: Generator) -> Tensor:
    """Counts when each sequence is given the categories of another.

    The stricter control where a category is a whole sequence's: what chance gives to sequences, each of one topic.
    """
    label_BS = categories.label_T.view(rows, -1)[torch.randperm(rows, generator=generator)]
    return table(routing, Categories(categories.names, label_BS.flatten()))


def by_hash(byte_T: Tensor, categories: Categories, num_experts: int, top_k: int, generator: Generator) -> Tensor:
    """Counts of a routing that sends each byte to K experts drawn once and for all."""
    table_VK = hash_table(VOCAB, num_experts, top_k, generator=generator)
    return table(hash_routing(byte_T, table_VK, num_experts), categories)


def by_best_byte(byte_T: Tensor, categories: Categories, num_experts: int) -> Tensor:
    """Counts of a routing made to tell the most that a byte alone can: one expert per byte, found by climbing.

    It begins with each byte at the expert of its most frequent category and moves single bytes while that tells more.
    So it need not be the best there is; no routing by the byte alone, of any K, tells more than the byte itself.
    """
    counts_VX = byte_table(byte_T, categories).T
    expert_V = counts_VX.argmax(1) % num_experts
    counts_EX = torch.zeros(num_experts, counts_VX.shape[1], dtype=torch.long).index_add_(0, expert_V, counts_VX)
    moved = True
    while moved:
        moved = False
        for byte, row_X in enumerate(counts_VX):
            counts_EX[expert_V[byte]] -= row_X
            tried = [_with(counts_EX, expert, row_X) for expert in range(num_experts)]
            told_E = torch.stack([mutual_information(one) for one in tried])
            # a rounding error is no gain: it could go round for ever
            if told_E.max() > told_E[expert_V[byte]] + 1e-12:
                expert_V[byte], moved = told_E.argmax(), True
            counts_EX[expert_V[byte]] += row_X
    return counts_EX.T


def byte_table(byte_T: Tensor, categories: Categories) -> Tensor:
    """Counts of categories by the byte itself (X, V): what knowing the exact byte tells."""
    occurring, number_T = _numbered(byte_T)
    return table(routing_of(one_hot(number_T, occurring).bool()), categories)


def agreement(one: Routing, other: Routing, fit_T: Tensor) -> float:
    """Mean overlap of the experts of a token in two routings, those of the second renamed to fit the first.

    The names are fitted on the tokens of `fit_T`, the overlap (Jaccard) is that of the other tokens.
    """
    match_E = expert_matching(_of(one, fit_T), _of(other, fit_T))
    return choice_overlap(_of(one, ~fit_T), renamed(_of(other, ~fit_T), match_E)).item()


def _numbered(byte_T: Tensor) -> tuple[int, Tensor]:
    """How many different bytes occur, and each token's number among them."""
    occurs_V = byte_T.bincount() > 0
    return int(occurs_V.sum()), (occurs_V.cumsum(0) - 1)[byte_T]


def _of(routing: Routing, some_T: Tensor) -> Routing:
    return routing_of(routing.map_TE[some_T])


def _with(counts_EX: Tensor, expert: int, row_X: Tensor) -> Tensor:
    again_EX = counts_EX.clone()
    again_EX[expert] += row_X
    return again_EX
