"""Methods of arrays that give all elements as something else: a copy, a list, a file.

Knows ndarrays. It must not know where the elements come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

import numpy as np

from .elementwise import Elementwise

if TYPE_CHECKING:
    import os
    from typing import IO

    from numpy.typing import DTypeLike, NDArray

__all__ = ["Conversions"]

Order = Literal["C", "F", "A", "K"]

_Known = TypeVar("_Known", bound=np.generic)


class Conversions(Elementwise):
    """Methods whose result has all elements, as those of the array give it.

    There is no `copy`: where an object has one beside its ``__array_ufunc__``, Dask calls
    it before it makes a graph, and would read the whole file.
    """

    __slots__ = ()

    @overload
    def astype(
        self, dtype: type[_Known] | np.dtype[_Known], order: Order = "K", **options: Any
    ) -> NDArray[_Known]: ...
    @overload
    def astype(
        self, dtype: DTypeLike, order: Order = "K", **options: Any
    ) -> NDArray[Any]: ...
    def astype(self, dtype: DTypeLike, order: Order = "K", **options: Any) -> NDArray[Any]:
        """Return a copy in memory with another type, as `numpy.ndarray.astype` does.

        Parameters
        ----------
        dtype : dtype_like
            Element type.
        order : {"K", "A", "C", "F"}, default "K"
            How the copy lies in memory.
        **options
            `casting` and `copy`, as for `numpy.ndarray.astype`.

        Returns
        -------
        numpy.ndarray
            The elements.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.
        TypeError
            When `casting` does not allow it.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.arange(3, dtype="<u2").tofile("three.bin")
        >>> yammap.MappedArray("three.bin", "<u2").astype("f8")
        array([0., 1., 2.])
        """
        with self._reading() as array:
            return array.astype(dtype, order, **options)

    def tolist(self) -> Any:
        """Return the elements as Python's own objects, in lists of lists.

        Returns
        -------
        list or object
            A list; of an array without dimensions, its one element.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.arange(3).tofile("three.bin")
        >>> yammap.MappedArray("three.bin", int).tolist()
        [0, 1, 2]
        """
        with self._reading() as array:
            return array.tolist()

    def tobytes(self, order: Order = "C") -> bytes:
        r"""Return the bytes of the elements, one after the other.

        Parameters
        ----------
        order : {"C", "F", "A"}, default "C"
            Row-major or column-major.

        Returns
        -------
        bytes
            The bytes.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.arange(3, dtype="u1").tofile("three.bin")
        >>> yammap.MappedArray("three.bin").tobytes()
        b'\x00\x01\x02'
        """
        with self._reading() as array:
            return array.tobytes(order)

    def tofile(
        self,
        fid: str | bytes | os.PathLike[Any] | IO[bytes],
        sep: str = "",
        format: str = "%s",  # noqa: A002  # as NumPy calls it
    ) -> None:
        """Write the elements to another file, in row-major order.

        Parameters
        ----------
        fid : path-like or file
            Where to.
        sep, format : str
            As for `numpy.ndarray.tofile`.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read; what has been written is then
            not all of it.
        OSError
            When the other file cannot be written.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.arange(3).tofile("three.bin")
        >>> yammap.MappedArray("three.bin", int).tofile("copy.bin")
        >>> np.fromfile("copy.bin", int)
        array([0, 1, 2])
        """
        with self._reading() as array:
            array.tofile(fid, sep, format)

    def nonzero(self) -> tuple[NDArray[np.intp], ...]:
        """Return the indices of the elements that are not zero.

        Returns
        -------
        tuple of numpy.ndarray
            Indices for each dimension.

        Raises
        ------
        BusError
            When the file was cut short, or cannot be read.

        Examples
        --------
        >>> import numpy as np, yammap
        >>> np.array([0, 7, 0, 8]).tofile("sparse.bin")
        >>> yammap.MappedArray("sparse.bin", int).nonzero()
        (array([1, 3]),)
        """
        with self._reading() as array:
            return array.nonzero()
