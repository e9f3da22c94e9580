"""Which value has which rank in a column: a KLL sketch, which the sketches of other rows are merged into.

Karnin, Lang, Liberty, Optimal quantile approximation in streams (2016). What a sketch keeps at level n stands for 2^n
values. datasketches takes values one by one, 17 ns each, and makes the levels by compacting; of values in order a level
is taken at once, every 2^n-th, in the form in which datasketches stores a sketch. Part of the light core: numpy and
datasketches.
"""

# pyright: reportAttributeAccessIssue=false
# (datasketches has no type stubs.)

import struct

import numpy as np
from datasketches import kll_floats_sketch

K = 1024
"""Rank error about 0.2 % with 99 % confidence (datasketches, get_normalized_rank_error)."""
_M = 8
"""The smallest capacity of a level in datasketches."""
_HEAD = "<BBBBHBBQHBB"
"""Its preamble: ints in it, version, family, flags, K, M, unused, values, smallest K, levels, unused."""
_INTS, _VERSION, _FAMILY, _LEVEL_0_IN_ORDER = 5, 1, 15, 2


def empty() -> kll_floats_sketch:
    """Of no values yet."""
    return kll_floats_sketch(K)


def of_sorted(values: np.ndarray) -> kll_floats_sketch:
    """Of float32 values in order, none of them NaN. A rank is off by less than a `K`-th of them."""
    count = values.size
    if count <= K:
        sketch = empty()
        sketch.update(values)
        return sketch
    level = ((count - 1) // K).bit_length()
    step = 1 << level
    whole = count >> level << level
    kept = values[step // 2 : whole : step]
    end = _capacity(level + 1)
    levels = (end - kept.size - (count - whole), *[end - kept.size] * level)
    head = struct.pack(_HEAD, _INTS, _VERSION, _FAMILY, _LEVEL_0_IN_ORDER, K, _M, 0, count, K, level + 1, 0)
    cells = np.concatenate([values[[0, -1]], values[whole:], kept]).astype("<f4", copy=False)
    return kll_floats_sketch.deserialize(head + struct.pack(f"<{level + 1}I", *levels) + cells.tobytes())


def _capacity(levels: int) -> int:
    """Values that a sketch of so many levels may keep: K at the highest, two thirds of that at the one below it, ..."""
    return sum(max(_M, ((2 * K << depth) // 3**depth + 1) >> 1) for depth in range(levels))
