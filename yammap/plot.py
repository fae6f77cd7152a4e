"""Pictures of mapped files, drawn by matplotlib: ``pip install 'yammap[plot]'``.

Knows how to draw what a mapping tells. It touches no page of the file, so that a picture
does not change what it shows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._arrays.mapped_array import MappedArray
from ._file.html import spelled_size
from ._file.residency import residency as parts_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ._file.mmap_file import Mmap

__all__ = ["residency"]

# More than a figure of the usual width has room for.
_PARTS = 512


def residency(m: Mmap | MappedArray, *, ax: Axes | None = None) -> Axes:
    """Draw which parts of a mapping, or of an array in a file, are in memory.

    Parameters
    ----------
    m : Mmap or MappedArray
        What to draw: the whole mapping, or the bytes from the first element of an array to
        its last. The file of an array that nobody has used yet is mapped first.
    ax : matplotlib.axes.Axes, optional
        Where to draw; by default the current axes of ``matplotlib.pyplot``.

    Returns
    -------
    matplotlib.axes.Axes
        The axes. From left to right they show the mapping from its first byte to its last,
        the darker the more of a part is in memory. The title gives the sum.

    Raises
    ------
    OSError
        When the kernel does not tell what is in memory: ``EPERM`` for a file that is
        neither this user's own nor writable for them, ``ENOSYS`` before Linux 6.5. See
        cachestat(2).
    ValueError
        When the mapping is closed or empty.
    ImportError
        When matplotlib is not installed.

    Examples
    --------
    >>> import yammap
    >>> import yammap.plot
    >>> m = yammap.create("drawn.bin", 1 << 20)
    >>> m.array()[: 1 << 19] = 1
    >>> yammap.plot.residency(m).get_title()
    'drawn.bin: 512.0 KiB of 1.0 MiB in memory'
    >>> m.close()
    """
    from matplotlib import pyplot  # here, since it is an extra, and slow to import

    mapping, span = _bytes_of(m)
    if not span:
        raise ValueError(f"there is nothing to draw: {m!r} is empty")
    parts = list(parts_of(mapping, span, _PARTS))
    unit = 1024 ** ((span.stop.bit_length() - 1) // 10)
    edges = [edge / unit for edge in (*(part.start for part in parts), span.stop)]
    ax = pyplot.gca() if ax is None else ax
    shares = [[part.share for part in parts]]
    ax.pcolormesh(edges, [0, 1], shares, cmap="Blues", vmin=0, vmax=1)
    present = sum(part.share * part.length for part in parts)
    total = f"{spelled_size(present)} of {spelled_size(len(span))} in memory"
    _, name_of_unit = spelled_size(unit).split()
    ax.set(title=f"{mapping.name}: {total}", yticks=[], xlabel=f"offset, {name_of_unit}")
    return ax


def _bytes_of(m: Mmap | MappedArray) -> tuple[Mmap, range]:
    if isinstance(m, MappedArray):
        extent = m._layout.extent
        return m.mapping, range(extent.start, extent.stop)
    return m, range(len(m))
