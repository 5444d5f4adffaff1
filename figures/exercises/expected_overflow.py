r"""What an expert has to drop

Each of $T$ tokens chooses an expert by chance $q$. `chance_X[x]` is the probability that just $x$ of them do.
Complete the number of tokens that an expert with `capacity` slots drops on average, $\mathbb{E}\,(X - C)^+$.
"""

# %% given
from math import comb

import numpy as np


# X: the numbers of tokens that may come, from 0 to T
def overflow(num_tokens, q, capacity):
    load_X = np.arange(num_tokens + 1)
    chance_X = np.array([comb(num_tokens, x) * q**x * (1 - q) ** (num_tokens - x) for x in load_X])
    dropped = ...
    return dropped


# %% check
from moedocs import lite


def cases():
    for tokens, q, slots in ((2, 0.5, 1), (1, 1.0, 0), (8, 0.25, 2), (64, 0.25, 16), (64, 0.25, 20)):
        words = f"{tokens} token{'s' * (tokens > 1)}, chance {q} and {slots} slot{'s' * (slots != 1)}"
        yield words, (tokens, q, slots), lite.binomial_overflow(tokens, q, slots)


# %% hint
# If $x$ tokens come, `max(x - capacity, 0)` are dropped. Weigh that with its probability and add it up;
# `np.maximum` takes the larger number for a whole array.

# %% solution
dropped = (np.maximum(load_X - capacity, 0) * chance_X).sum()

# %% wrong
# This is what the mean load would overflow by. The mean of an overflow is never less, and mostly more: luck in
# one batch does not make up for drops in the next.
dropped = max(num_tokens * q - capacity, 0)

# %% wrong
# This is the probability that anything is dropped, not how much.
dropped = chance_X[load_X > capacity].sum()

# %% wrong
# An expert that overflows still keeps as many as it has slots; only those beyond are dropped.
dropped = (load_X * chance_X)[load_X > capacity].sum()

# %% wrong
# Empty slots count as negative drops here. They must count as none.
dropped = ((load_X - capacity) * chance_X).sum()
