"""The copy of elements of several files, which no store into it could write back.

Knows NumPy only.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["SeamCopy"]


class SeamCopy(np.ndarray[Any, Any]):
    """A read-only copy, of which everything that is computed is a plain array.

    ``c[a:b] += 1`` takes it, adds one to it, and assigns the sum to ``c[a:b]``. So unlike a
    store into it, adding in place must not fail: it gives another array.
    """

    @classmethod
    def of(cls, array: NDArray[Any]) -> SeamCopy:
        """Return an array that nobody else has as a read-only copy."""
        array.flags.writeable = False
        return array.view(cls)

    # NumPy 2 passes one argument more than NumPy 1.
    def __array_wrap__(self, array: NDArray[Any], *_: object) -> Any:
        plain = np.asarray(array)
        return plain if plain.ndim else plain[()]

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.view(np.ndarray).__reduce_ex__(protocol)


def _in_place(name: str) -> Callable[[SeamCopy, Any], Any]:
    compute = getattr(operator, name)

    def computed(self: SeamCopy, other: Any) -> Any:
        # A copy of it may have been made that is writeable, and is to change as arrays do.
        plain = self.view(np.ndarray) if self.flags.writeable else np.array(self)
        return compute(plain, other)

    return computed


_OPERATORS = (
    *("add", "sub", "mul", "matmul", "truediv", "floordiv", "mod", "pow"),
    *("and", "or", "xor", "lshift", "rshift"),
)
for _name in _OPERATORS:
    setattr(SeamCopy, f"__i{_name}__", _in_place(f"i{_name}"))
