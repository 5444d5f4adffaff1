"""Tokens that are counted together: the whole batch, or each sequence by itself.

Shapes: T tokens · G groups · S tokens of one group · E num_experts
"""

from torch import Tensor


def in_groups(table_TE: Tensor, group_size: int | None) -> Tensor:
    """The table (T, E) cut into (G, S, E), S = `group_size` tokens that follow each other; None is one group of all.

    Raises ValueError where the last group would not be full.
    """
    num_tokens, num_experts = table_TE.shape
    size = max(num_tokens, 1) if group_size is None else group_size
    if size < 1 or num_tokens % size:
        raise ValueError(f"{num_tokens} tokens cannot be cut into equal groups of {size}")
    return table_TE.reshape(num_tokens // size, size, num_experts)
