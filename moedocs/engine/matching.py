"""The best one-to-one matching: the Hungarian method on plain lists, the same text in moedocs.engine and moedocs.lite.

Shapes: E rows and columns
"""

import math


def best_matching(gain_EE: list[list[float]]) -> list[int]:
    """The column of each row, all different, with the largest total gain; of several such the same one everywhere.

    Prices of a row and a column never sum to less than their gain, and to just that where they are matched. Rows come
    in one by one, each by the way of swaps that loses least: at most about E^3 steps.
    """
    size = len(gain_EE)
    row_price, column_price = [max(gains) for gains in gain_EE], [0.0] * size
    column_of, row_of = [-1] * size, [-1] * size
    for start in range(size):
        loss_EE = [
            [row + column - gain for column, gain in zip(column_price, gains, strict=True)]
            for row, gains in zip(row_price, gain_EE, strict=True)
        ]
        seen, lost, before = _way(loss_EE, row_of, start)
        total = lost[seen[-1]]
        row_price[start] -= total
        for column in seen[:-1]:
            row_price[row_of[column]] -= total - lost[column]
            column_price[column] += total - lost[column]
        column = seen[-1]
        while column != -1:  # every row on the way moves on by one column
            row_of[column] = before[column]
            column_of[before[column]], column = column, column_of[before[column]]
    return column_of


def _way(loss_EE: list[list[float]], row_of: list[int], start: int) -> tuple[list[int], list[float], list[int]]:
    """Dijkstra from a row to the nearest free column: the columns in order, what each loses, the row before each."""
    size = len(loss_EE)
    lost, before, left = [math.inf] * size, [-1] * size, list(range(size))
    seen: list[int] = []
    row, so_far = start, 0.0
    while row != -1:
        for column in left:
            if so_far + loss_EE[row][column] < lost[column]:
                lost[column], before[column] = so_far + loss_EE[row][column], row
        seen.append(min(left, key=lost.__getitem__))
        left.remove(seen[-1])
        row, so_far = row_of[seen[-1]], lost[seen[-1]]
    return seen, lost, before
