"""A handle in expressions: its operators and NumPy's functions compute, as an array's do.

Knows ufuncs and ndarrays. It must not know where the elements come from.
"""

from __future__ import annotations

import operator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from numpy.typing import NDArray

__all__ = ["Elementwise"]

_ELSEWHERE = {"filename": "path", "tostring": "tobytes"}


class Elementwise(NDArrayOperatorsMixin):
    """Operators and ufuncs: they read a handle as its array, and give ndarrays.

    Those that write (``h += 1``, ``np.add(a, b, out=h)``) write to the file.
    """

    # Before NumPy 1.25, its class has the slot already.
    __slots__ = () if hasattr(NDArrayOperatorsMixin, "__weakref__") else ("__weakref__",)

    __hash__ = None  # type: ignore[assignment]  # like arrays, whose == gives no single bool

    def _reading(self) -> AbstractContextManager[NDArray[Any]]:
        """Return a context that gives all elements, and raises if one was made up."""
        raise NotImplementedError

    def _writing(self) -> AbstractContextManager[NDArray[Any]]:
        """Return a context that gives the array which stores go to."""
        raise NotImplementedError

    def _comparable(self, value: Any) -> Any:
        """Return the value at addresses by which NumPy sees whether it overlaps with us."""
        raise NotImplementedError

    def __array_ufunc__(
        self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any
    ) -> Any:
        out = options.get("out", ())
        targets = inputs[:1] if method == "at" else out
        with ExitStack() as stack:
            arrays = {id(t): _entered(t, stack, "_writing") for t in targets}

            def array_of(value: Any) -> Any:
                if id(value) in arrays:
                    return arrays[id(value)]
                array = _entered(value, stack, "_reading")
                for target in targets:
                    if isinstance(target, Elementwise):
                        array = target._comparable(array)
                return array

            if out:
                options["out"] = tuple(map(array_of, out))
            if "where" in options:
                options["where"] = array_of(options["where"])
            result = getattr(ufunc, method)(*map(array_of, inputs), **options)
        return _with_targets(result, out)

    # -- Equality, which arrays know of more dtypes than ufuncs do: of records, for one

    def __eq__(self, other: object) -> Any:
        return self._compared(operator.eq, other)

    def __ne__(self, other: object) -> Any:
        return self._compared(operator.ne, other)

    def _compared(self, compare: Callable[[Any, Any], Any], other: object) -> Any:
        with ExitStack() as stack:
            return compare(*(_entered(x, stack, "_reading") for x in (self, other)))

    # -- One value

    def __bool__(self) -> bool:
        with self._reading() as array:
            return bool(array)

    def __int__(self) -> int:
        with self._reading() as array:
            return int(array)

    def __float__(self) -> float:
        with self._reading() as array:
            return float(array)

    def __complex__(self) -> complex:
        with self._reading() as array:
            return complex(array)

    def __index__(self) -> int:
        with self._reading() as array:
            return operator.index(array)

    if not TYPE_CHECKING:  # else type checkers would accept every name

        def __getattr__(self, name: str) -> NoReturn:
            """Refuse an unknown name; functions of NumPy ask for some and go on."""
            hint = ""
            if name in _ELSEWHERE:
                hint = f": it is called {_ELSEWHERE[name]}"
            elif not name.startswith("_") and hasattr(np.ndarray, name):
                hint = f": the array has it, as handle[...].{name}"
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}{hint}")


def _entered(value: Any, stack: ExitStack, way: str) -> Any:
    """Return an operand as NumPy takes it: of a handle, its array until the stack ends."""
    if isinstance(value, Elementwise):
        return stack.enter_context(getattr(value, way)())
    return value


def _with_targets(result: Any, out: tuple[Any, ...]) -> Any:
    """Return what a ufunc gave, with the handles that it wrote to in place of arrays."""
    if len(out) > 1:
        each = zip(out, result, strict=True)
        return tuple(t if isinstance(t, Elementwise) else r for t, r in each)
    return out[0] if out and isinstance(out[0], Elementwise) else result
