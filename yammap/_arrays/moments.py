"""Number, mean and spread of elements, of which those of parts make those of the whole.

Knows arrays in memory. It must not know what they are parts of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["moments"]


def moments(array: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """Return the moments of elements, or of moments, along dimensions that stay, as 1.

    The mean of all is taken from each part's own, and squares are of what is left: so none
    is lost where the mean is large, as it would be from a sum of squares.
    """
    if array.dtype.names is None:
        kind = np.result_type(array.dtype, np.float64)
        mean = array.mean(axis=axes, dtype=kind, keepdims=True)
        spread = np.square(np.subtract(array, mean, dtype=kind))
        count = array.size // max(1, mean.size)
        return _made(count, mean, spread.sum(axis=axes, keepdims=True))
    count, mean = array["count"], array["mean"]
    total = count.sum(axis=axes, keepdims=True)
    whole = (count * mean).sum(axis=axes, keepdims=True) / total
    spread = array["spread"] + count * np.square(mean - whole)
    return _made(total, whole, spread.sum(axis=axes, keepdims=True))


def _made(count: Any, mean: NDArray[Any], spread: NDArray[Any]) -> NDArray[Any]:
    kind = mean.dtype
    made = np.empty(mean.shape, [("count", "i8"), ("mean", kind), ("spread", kind)])
    made["count"], made["mean"], made["spread"] = count, mean, spread
    return made
