"""Methods of arrays that compute: `sum`, `min`, `mean` and others, in little memory.

Knows arrays and blocks of them. It must not know where the elements come from.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .blocks import BLOCK, blocks_of, reduced
from .elementwise import Elementwise
from .moments import moments

try:
    from numpy.lib.array_utils import normalize_axis_tuple
except ImportError:  # NumPy 1
    from numpy.core.numeric import normalize_axis_tuple  # type: ignore[no-redef]

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator
    from contextlib import AbstractContextManager

    from numpy.typing import DTypeLike, NDArray

    Reduce = Callable[[NDArray[Any], tuple[int, ...]], NDArray[Any]]

__all__ = ["Reductions"]

Axis = int | tuple[int, ...] | None

_HALF, _SINGLE, _DOUBLE = map(np.dtype, ("f2", "f4", "f8"))


class Reductions(Elementwise):
    """Methods that compute. A large array comes into memory block by block, and goes."""

    __slots__ = ()

    def _elements(self) -> AbstractContextManager[NDArray[Any]]:
        """Return a context that gives what can be sliced into blocks."""
        raise NotImplementedError

    def _block(self, block: NDArray[Any]) -> AbstractContextManager[NDArray[Any]]:
        """Return a context in which a block is in memory, and behind which it is not."""
        raise NotImplementedError

    @property
    def dtype(self) -> np.dtype[Any]:
        """numpy.dtype: the type of an element."""
        raise NotImplementedError

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of elements in each dimension: tuple of int."""
        raise NotImplementedError

    def _reduce(self, reduce: Reduce, axes: tuple[int, ...]) -> NDArray[Any]:
        """Return what is made of all elements, block by block."""
        with self._elements() as array:
            return reduced(array, axes, reduce, self._block)

    def _blocks(self) -> Iterator[tuple[tuple[int, ...], NDArray[Any]]]:
        """Yield each block in memory, and the indices of its first element."""
        with self._elements() as array:
            for first, block in blocks_of(array):
                with self._block(block):
                    yield first, block

    # -- Reductions

    def sum(
        self,
        axis: Axis = None,
        dtype: DTypeLike | None = None,
        out: NDArray[Any] | None = None,
        keepdims: bool = False,
        **more: Any,
    ) -> Any:
        """Return the sum of the elements, as `numpy.ndarray.sum` does.

        Parameters
        ----------
        axis : int or tuple of int, optional
            As for `numpy.sum`.
        dtype : dtype_like, optional
            As for `numpy.sum`.
        out : numpy.ndarray, optional
            As for `numpy.sum`.
        keepdims : bool, default False
            As for `numpy.sum`.
        **more
            `initial` and `where`. With one of these or `out`, NumPy goes over the array as
            a whole.

        Returns
        -------
        scalar or numpy.ndarray
            The sum. Of floats, it is within the error of NumPy's, and may differ in the
            last places: blocks of 4 MiB are added up one by one.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.arange(6.0).tofile("six.bin")
        >>> six = yammap.MappedArray("six.bin", "f8", (2, 3))
        >>> float(six.sum()), six.sum(axis=0)
        (15.0, array([3., 5., 7.]))
        """
        if dtype is not None:
            more["dtype"] = dtype
        return self._reduced("sum", axis, out, keepdims, more)

    def prod(
        self,
        axis: Axis = None,
        dtype: DTypeLike | None = None,
        out: NDArray[Any] | None = None,
        keepdims: bool = False,
        **more: Any,
    ) -> Any:
        """Return the product of the elements, as `numpy.ndarray.prod` does.

        Parameters
        ----------
        axis : int or tuple of int, optional
            As for `sum`.
        dtype : dtype_like, optional
            As for `sum`.
        out : numpy.ndarray, optional
            As for `sum`.
        keepdims : bool, default False
            As for `sum`.
        **more
            As for `sum`.

        Returns
        -------
        scalar or numpy.ndarray
            The product.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.arange(1.0, 5).tofile("four.bin")
        >>> float(yammap.MappedArray("four.bin", "f8").prod())
        24.0
        """
        if dtype is not None:
            more["dtype"] = dtype
        return self._reduced("prod", axis, out, keepdims, more)

    def min(
        self,
        axis: Axis = None,
        out: NDArray[Any] | None = None,
        keepdims: bool = False,
        **more: Any,
    ) -> Any:
        """Return the least element, as `numpy.ndarray.min` does.

        Parameters
        ----------
        axis : int or tuple of int, optional
            As for `sum`.
        out : numpy.ndarray, optional
            As for `sum`.
        keepdims : bool, default False
            As for `sum`.
        **more
            As for `sum`.

        Returns
        -------
        scalar or numpy.ndarray
            The minimum; NaN if there is one.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.
        ValueError
            When there is no element.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.array([3.0, 1, 2]).tofile("three.bin")
        >>> float(yammap.MappedArray("three.bin", "f8").min())
        1.0
        """
        return self._reduced("min", axis, out, keepdims, more)

    def max(
        self,
        axis: Axis = None,
        out: NDArray[Any] | None = None,
        keepdims: bool = False,
        **more: Any,
    ) -> Any:
        """Return the greatest element, as `numpy.ndarray.max` does.

        Parameters
        ----------
        axis : int or tuple of int, optional
            As for `sum`.
        out : numpy.ndarray, optional
            As for `sum`.
        keepdims : bool, default False
            As for `sum`.
        **more
            As for `sum`.

        Returns
        -------
        scalar or numpy.ndarray
            The maximum; NaN if there is one.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.
        ValueError
            When there is no element.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.array([3.0, 1, 2]).tofile("three.bin")
        >>> float(yammap.MappedArray("three.bin", "f8").max())
        3.0
        """
        return self._reduced("max", axis, out, keepdims, more)

    def any(
        self,
        axis: Axis = None,
        out: NDArray[Any] | None = None,
        keepdims: bool = False,
        **more: Any,
    ) -> Any:
        """Tell whether an element is true, as `numpy.ndarray.any` does.

        Parameters
        ----------
        axis : int or tuple of int, optional
            As for `sum`.
        out : numpy.ndarray, optional
            As for `sum`.
        keepdims : bool, default False
            As for `sum`.
        **more
            As for `sum`.

        Returns
        -------
        bool or numpy.ndarray
            Whether any element is true.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.

        Examples
        --------
        >>> import yammap
        >>> bool(yammap.MappedArray(yammap.anonymous(8)).any())
        False
        """
        return self._reduced("any", axis, out, keepdims, more)

    def all(
        self,
        axis: Axis = None,
        out: NDArray[Any] | None = None,
        keepdims: bool = False,
        **more: Any,
    ) -> Any:
        """Tell whether all elements are true, as `numpy.ndarray.all` does.

        Parameters
        ----------
        axis : int or tuple of int, optional
            As for `sum`.
        out : numpy.ndarray, optional
            As for `sum`.
        keepdims : bool, default False
            As for `sum`.
        **more
            As for `sum`.

        Returns
        -------
        bool or numpy.ndarray
            Whether all elements are true.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.

        Examples
        --------
        >>> import yammap
        >>> bool(yammap.MappedArray(yammap.anonymous(8)).all())
        False
        """
        return self._reduced("all", axis, out, keepdims, more)

    def mean(
        self,
        axis: Axis = None,
        dtype: DTypeLike | None = None,
        out: NDArray[Any] | None = None,
        keepdims: bool = False,
        **more: Any,
    ) -> Any:
        """Return the arithmetic mean, as `numpy.ndarray.mean` does.

        Parameters
        ----------
        axis : int or tuple of int, optional
            As for `sum`.
        dtype : dtype_like, optional
            As for `sum`.
        out : numpy.ndarray, optional
            As for `sum`.
        keepdims : bool, default False
            As for `sum`.
        **more
            As for `sum`.

        Returns
        -------
        scalar or numpy.ndarray
            The mean; of integers in float64.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.arange(6).tofile("six.bin")
        >>> float(yammap.MappedArray("six.bin", int).mean())
        2.5
        """
        if dtype is not None:
            more["dtype"] = dtype
        if more or self._is_whole(out):
            return self._computed("mean", axis=axis, out=out, keepdims=keepdims, **more)
        kind = self.dtype.newbyteorder("=")
        result = _DOUBLE if kind.kind in "biu" else kind
        inner = _SINGLE if kind == _HALF else result
        total = self.sum(axis, None if inner == kind else inner, keepdims=keepdims)
        count = self._count() // max(1, total.size)
        return (total / count).astype(result)

    def var(
        self,
        axis: Axis = None,
        dtype: DTypeLike | None = None,
        out: NDArray[Any] | None = None,
        ddof: float = 0,
        keepdims: bool = False,
        **more: Any,
    ) -> Any:
        """Return the variance, as `numpy.ndarray.var` does.

        Parameters
        ----------
        axis : int or tuple of int, optional
            As for `sum`.
        dtype : dtype_like, optional
            As for `numpy.var`. With one, NumPy goes over the array as a whole.
        out : numpy.ndarray, optional
            As for `sum`.
        ddof : float, default 0
            As for `numpy.var`: the divisor is the number of elements less this.
        keepdims : bool, default False
            As for `sum`.
        **more
            `where`, `mean` and `correction`. With one of these, or for complex numbers,
            NumPy goes over the array as a whole.

        Returns
        -------
        scalar or numpy.ndarray
            The variance; of integers in float64. It is computed in double precision, in
            one pass.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.arange(5).tofile("five.bin")
        >>> float(yammap.MappedArray("five.bin", int).var())
        2.0
        """
        return self._spread("var", axis, dtype, out, ddof, keepdims, more)

    def std(
        self,
        axis: Axis = None,
        dtype: DTypeLike | None = None,
        out: NDArray[Any] | None = None,
        ddof: float = 0,
        keepdims: bool = False,
        **more: Any,
    ) -> Any:
        """Return the standard deviation, as `numpy.ndarray.std` does.

        Parameters
        ----------
        axis : int or tuple of int, optional
            As for `sum`.
        dtype : dtype_like, optional
            As for `var`.
        out : numpy.ndarray, optional
            As for `sum`.
        ddof : float, default 0
            As for `var`.
        keepdims : bool, default False
            As for `sum`.
        **more
            As for `var`.

        Returns
        -------
        scalar or numpy.ndarray
            The square root of `var`.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.array([1.0, 3.0]).tofile("two.bin")
        >>> float(yammap.MappedArray("two.bin", "f8").std())
        1.0
        """
        return self._spread("std", axis, dtype, out, ddof, keepdims, more)

    def argmin(
        self,
        axis: int | None = None,
        out: NDArray[Any] | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Return where the least element is, as `numpy.ndarray.argmin` does.

        Parameters
        ----------
        axis : int, optional
            As for `numpy.argmin`.
        out : numpy.ndarray, optional
            As for `numpy.argmin`.
        keepdims : bool, default False
            As for `numpy.argmin`.

        Returns
        -------
        int or numpy.ndarray
            The index of the first of them in row-major order.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.
        ValueError
            When there is no element.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.array([3.0, 1, 2]).tofile("three.bin")
        >>> int(yammap.MappedArray("three.bin", "f8").argmin())
        1
        """
        return self._found("argmin", axis, out, keepdims)

    def argmax(
        self,
        axis: int | None = None,
        out: NDArray[Any] | None = None,
        *,
        keepdims: bool = False,
    ) -> Any:
        """Return where the greatest element is, as `numpy.ndarray.argmax` does.

        Parameters
        ----------
        axis : int, optional
            As for `argmin`.
        out : numpy.ndarray, optional
            As for `argmin`.
        keepdims : bool, default False
            As for `argmin`.

        Returns
        -------
        int or numpy.ndarray
            The index of the first of them in row-major order.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.
        ValueError
            When there is no element.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.array([3.0, 1, 2]).tofile("three.bin")
        >>> int(yammap.MappedArray("three.bin", "f8").argmax())
        0
        """
        return self._found("argmax", axis, out, keepdims)

    def __contains__(self, value: Any) -> bool:
        if np.ndim(value) or self._is_whole():
            with self._reading() as array:
                return value in array
        with self._elements() as array:
            return any(self._is_in(block, value) for _, block in blocks_of(array))

    def _is_in(self, block: NDArray[Any], value: Any) -> bool:
        with self._block(block):
            return value in block

    def _reduced(
        self, name: str, axis: Axis, out: Any, keepdims: bool, more: dict[str, Any]
    ) -> Any:
        """Return what the method of this name gives."""
        if self._is_whole(out, more):
            return self._computed(name, axis=axis, out=out, keepdims=keepdims, **more)
        axes = _axes(axis, len(self.shape))
        is_half = self.dtype.type is np.float16 and name in ("sum", "prod") and not more
        if is_half:  # NumPy adds these up in single precision, and rounds once
            more = {"dtype": _SINGLE}

        def reduce(block: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
            made: NDArray[Any] = getattr(block, name)(axis=axes, keepdims=True, **more)
            return made

        found = self._reduce(reduce, axes)
        if is_half:
            found = found.astype(_HALF)
        return self._shaped(found, axes, keepdims)

    def _shaped(self, found: NDArray[Any], axes: tuple[int, ...], keepdims: bool) -> Any:
        if keepdims:
            return found
        return found.reshape([n for i, n in enumerate(self.shape) if i not in axes])[()]

    def _spread(
        self,
        name: str,
        axis: Axis,
        dtype: DTypeLike | None,
        out: Any,
        ddof: float,
        keepdims: bool,
        more: dict[str, Any],
    ) -> Any:
        if dtype is not None:
            more["dtype"] = dtype
        axes = _axes(axis, len(self.shape))
        elements = math.prod(self.shape[i] for i in axes)
        is_odd = more or self.dtype.kind not in "biuf" or elements <= ddof
        if is_odd or self._is_whole(out):
            options = {"axis": axis, "out": out, "ddof": ddof, "keepdims": keepdims}
            return self._computed(name, **options, **more)
        found = self._reduce(moments, axes)["spread"] / (elements - ddof)
        kind = self.dtype.newbyteorder("=") if self.dtype.kind == "f" else _DOUBLE
        made = np.sqrt(found) if name == "std" else found
        return self._shaped(made.astype(kind), axes, keepdims)

    def _found(self, name: str, axis: int | None, out: Any, keepdims: bool) -> Any:
        if axis is not None or keepdims or self._is_whole(out):
            return self._computed(name, axis=axis, out=out, keepdims=keepdims)
        indices, values = [], []
        for first, block in self._blocks():
            at = np.unravel_index(getattr(block, name)(), block.shape)
            values.append(block[at])
            at = tuple(i + j for i, j in zip(first, at, strict=True))
            indices.append(np.ravel_multi_index(at, self.shape))
        order = np.argsort(indices)  # NumPy's answer is the first in this order
        best = getattr(np.array(values, self.dtype)[order], name)()
        return np.intp(indices[order[best]])

    def _is_whole(self, out: Any = None, more: Collection[str] = ()) -> bool:
        """Whether NumPy does it at once: it is small, or has options that are rare."""
        is_small = not self.shape or self._count() * self.dtype.itemsize <= BLOCK
        return is_small or out is not None or not {*more} <= {"dtype"}

    def _count(self) -> int:
        return math.prod(self.shape)

    def _computed(self, name: str, *arguments: Any, **options: Any) -> Any:
        """Return what the array's method of this name gives."""
        with self._reading() as array:
            return getattr(array, name)(*arguments, **options)


def _axes(axis: Axis, ndim: int) -> tuple[int, ...]:
    axes: tuple[int, ...] = normalize_axis_tuple(
        range(ndim) if axis is None else axis, ndim
    )
    return axes
