"""How many slots?

`num_tokens` tokens choose `top_k` of `num_experts` experts each. Give every expert its even share of the choices,
times the capacity factor, **rounded up**. More slots than tokens are never of use, so give no more than `num_tokens`.
"""

# %% given
from math import ceil, floor


def slots(num_tokens, num_experts, top_k, factor):
    capacity = ...
    return capacity


# %% check
from moedocs import lite


def cases():
    for tokens, experts, top_k, factor in ((64, 8, 2, 1.0), (10, 4, 1, 1.0), (12, 8, 1, 1.25), (6, 4, 2, 4.0)):
        config = lite.RoutingConfig(num_experts=experts, top_k=top_k, capacity_factor=factor)
        words = f"{tokens} tokens, {experts} experts, top-{top_k} and factor {factor}"
        yield words, (tokens, experts, top_k, factor), min(lite.capacity(tokens, config), tokens)


# %% hint
# There are `num_tokens * top_k` choices. `ceil` rounds up, `min` takes the smaller of two numbers.

# %% solution
capacity = min(ceil(factor * num_tokens * top_k / num_experts), num_tokens)

# %% wrong
# This rounds down: even a perfectly balanced router may then have to drop.
capacity = min(floor(factor * num_tokens * top_k / num_experts), num_tokens)

# %% wrong
# A token makes `top_k` choices, and each of them needs a slot.
capacity = min(ceil(factor * num_tokens / num_experts), num_tokens)

# %% wrong
# No expert can be chosen by more tokens than there are; slots beyond that stay empty for certain.
capacity = ceil(factor * num_tokens * top_k / num_experts)

# %% wrong
# Rounded to the nearest number, a share of 2.4 gets 2 slots: too few. It has to be rounded up.
capacity = min(round(factor * num_tokens * top_k / num_experts), num_tokens)
