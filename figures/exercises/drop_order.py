"""Who keeps the slot?

Each row of `index_TK` names the experts that a token chose, the best first. Whoever comes first in the `queue` gets a
slot; who finds an expert full is dropped. Build the queue as GShard does: the **first** choices of all tokens, in the
order of the tokens, then the second choices of all tokens. It holds pairs `(token, choice)`, both counted from 0.
"""

# %% given
import numpy as np


# T tokens, K choices, E experts
def kept(index_TK, num_experts, capacity):
    num_tokens, top_k = index_TK.shape
    queue = ...

    map_TE = np.zeros((num_tokens, num_experts), dtype=bool)
    for token, choice in queue:
        expert = index_TK[token, choice]
        if map_TE[:, expert].sum() < capacity:
            map_TE[token, expert] = True
    return map_TE


# %% check
import numpy as np

from moedocs import lite


def cases():
    for index, experts, slots in (
        ([[0, 1], [1, 0]], 2, 1),
        ([[0], [0], [0]], 2, 2),
        ([[2, 0], [0, 1], [0, 2], [1, 0]], 3, 2),
        ([[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]], 3, 2),
    ):
        words = f"the choices {index} and {slots} slot{'s' * (slots > 1)} for each of {experts} experts"
        yield words, (np.array(index), experts, slots), served(index, experts, slots)


def served(index, num_experts, slots):
    """Who is kept by moedocs.lite, from router logits that lead to these choices."""
    logits_TE = np.full((len(index), num_experts), -9.0)
    for token, chosen in enumerate(index):
        logits_TE[token, chosen] = -np.arange(len(chosen))
    return lite.with_capacity(lite.softmax_top_k(logits_TE, len(index[0])), slots).map_TE


# %% hint
# Two loops, one in the other, as a list: `[(token, choice) for … in … for … in …]`. The loop that is written first
# is the slow one, the outer one.

# %% solution
queue = [(token, choice) for choice in range(top_k) for token in range(num_tokens)]

# %% wrong
# Here a token brings in all its choices before the next one comes: a second choice can take the slot from
# somebody's first.
queue = [(token, choice) for token in range(num_tokens) for choice in range(top_k)]

# %% wrong
# The first choices come first, but the last token is served before the others.
queue = [(token, choice) for choice in range(top_k) for token in reversed(range(num_tokens))]

# %% wrong
# Only first choices are in this queue: with top-2 the second expert of a token never hears of it.
queue = [(token, 0) for token in range(num_tokens)]
