"""A drop-in for ``multiprocessing.shared_memory``, imported from `yammap.compat` instead.

What one module makes the other attaches to, and it lives as long as there. But its memory
is there from the beginning, so that no store finds ``/dev/shm`` full, and arrays stay valid
after `close`.
"""

from __future__ import annotations

import _posixshmem  # type: ignore[import-not-found]
import multiprocessing.shared_memory as standard
import os
from multiprocessing import resource_tracker
from types import FunctionType
from typing import TYPE_CHECKING, TypeVar

from .._file.mmap_file import Mmap
from .._file.opening import mapped
from .._file.shared import SHM, allocate
from .._linux.calls import Descriptor

__all__ = ["ShareableList", "SharedMemory"]

_T = TypeVar("_T", int, float, bool, str, bytes, None)


class SharedMemory(standard.SharedMemory):
    """Memory that processes share by name, as ``multiprocessing.shared_memory`` has it.

    It lives until `unlink` is called or, if it is tracked, until the resource tracker of
    `multiprocessing` removes it. yammap never does.

    Parameters
    ----------
    name : str, optional
        The name of the memory; new memory gets a name of its own by default.
    create : bool, default False
        Make the memory, which must not exist; by default attach to some that exists.
    size : int, default 0
        Size of new memory, in bytes, at least 1; all zeros. It is ignored otherwise.
    track : bool, default True
        Let the resource tracker remove the memory when the processes that share the tracker
        have ended. Python's own class has this parameter from 3.13 on.

    Raises
    ------
    FileExistsError
        When `create` is true, and the name is in use.
    FileNotFoundError
        When no memory has the name.
    OSError
        ``ENOSPC`` when ``/dev/shm`` has not enough room for new memory, and ``ENOMEM`` when
        the machine or a control group (cgroup) has less memory left. Nothing is left then.
    ValueError
        When ``size`` is no size, or the name is missing or none.

    Examples
    --------
    >>> from yammap.compat import shared_memory
    >>> memory = shared_memory.SharedMemory(create=True, size=10)
    >>> same = shared_memory.SharedMemory(memory.name)
    >>> same.buf[:5] = b"hello"
    >>> bytes(memory.buf[:5])
    b'hello'
    >>> same.close(), memory.close(), memory.unlink()
    (None, None, None)
    """

    # As in the class above, where subclasses and programs find them.
    _name: str | None = None
    _mmap: Mmap | None = None
    _buf: memoryview | None = None
    _flags: int
    _mode: int
    _prepend_leading_slash: bool
    _track = True

    def __init__(
        self,
        name: str | None = None,
        create: bool = False,
        size: int = 0,
        *,
        track: bool = True,
    ) -> None:
        if size < 0 or (create and size == 0):
            raise ValueError(f"new memory needs a size of 1 byte or more, not {size}")
        if create:
            self._flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        if name is None and not self._flags & os.O_EXCL:
            raise ValueError("memory is attached by its name: pass one, or create=True")
        if name is not None and "\0" in name:  # where Python 3.12 would end the name
            raise ValueError(f"of the characters of a name none is 0, as in {name!r}")
        self._track = track
        self._name, fd = self._open(name)
        try:
            with fd:
                self._map(fd, size if create else 0)
        except BaseException:
            self.close()
            if create:
                _posixshmem.shm_unlink(self._name)
            raise
        if track:
            resource_tracker.register(self._name, "shared_memory")

    def _open(self, name: str | None) -> tuple[str, Descriptor]:
        """Return what the kernel calls it, and its descriptor."""
        while True:
            # Asked for in the module, where a program may have put another function.
            own = standard._make_filename() if name is None else name  # type: ignore[attr-defined]
            if name is not None and self._prepend_leading_slash:
                own = f"/{name}"
            try:
                return own, Descriptor(_posixshmem.shm_open, own, self._flags, self._mode)
            except FileExistsError:
                if name is not None:
                    raise

    def _map(self, fd: Descriptor, new_size: int) -> None:
        path = f"{SHM}/{str(self._name).lstrip('/')}"
        if new_size:
            allocate(new_size, path, fd.fd)
        self._size = os.fstat(fd.fd).st_size
        if not self._size:
            raise ValueError(f"{path} is empty: who makes it has not given it its size yet")
        self._mmap = mapped(fd, path, {"length": self._size}, Mmap)
        self._buf = memoryview(self._mmap)

    def close(self) -> None:
        """Stop using the memory, which others go on to use.

        ``buf`` is None from then on. Arrays over it stay valid, and keep their memory until
        they are gone. Closing twice does nothing.

        Raises
        ------
        BusError
            When an access by ``buf`` or an array found no memory behind it. It is closed in
            any case.

        Examples
        --------
        >>> import numpy as np
        >>> from yammap.compat import shared_memory
        >>> memory = shared_memory.SharedMemory(create=True, size=8)
        >>> array = np.ndarray(1, "i8", memory.buf)
        >>> memory.close(), memory.unlink()
        (None, None)
        >>> array
        array([0])
        """
        self._buf = None
        mapping, self._mmap = self._mmap, None
        if mapping is not None:
            mapping.close()

    def unlink(self) -> None:
        """Remove the memory's name: nobody can attach any more, and users go on.

        Call it once for each memory, in one of the processes.

        Raises
        ------
        FileNotFoundError
            When the name has been removed already.

        Examples
        --------
        >>> from yammap.compat import shared_memory
        >>> with_name = shared_memory.SharedMemory(create=True, size=8)
        >>> with_name.unlink()
        >>> with_name.buf[0] = 1        # goes on
        >>> with_name.close()
        """
        if self._name:
            _posixshmem.shm_unlink(self._name)
            if self._track:
                resource_tracker.unregister(self._name, "shared_memory")


def _with_our_memory(function: FunctionType) -> FunctionType:
    """Return a function of the standard library's module that makes our `SharedMemory`."""
    names = {**vars(standard), "SharedMemory": SharedMemory}
    ours = FunctionType(function.__code__, names, None, function.__defaults__)
    ours.__kwdefaults__ = function.__kwdefaults__
    return ours


class ShareableList(standard.ShareableList[_T]):
    """A list of fixed length that processes share by name.

    It is the one of the standard library, on our `SharedMemory`.

    Parameters
    ----------
    sequence : iterable, optional
        Its items: int, float, bool, str, bytes or None.
    name : str, optional
        The name of its memory. Without `sequence`, it attaches to the list of that name.

    Examples
    --------
    >>> from yammap.compat import shared_memory
    >>> numbers = shared_memory.ShareableList([1, 2.5, "three"])
    >>> same = shared_memory.ShareableList(name=numbers.shm.name)
    >>> same[2] = "four"
    >>> numbers[2]
    'four'
    >>> same.shm.close(), numbers.shm.close(), numbers.shm.unlink()
    (None, None, None)
    """

    shm: SharedMemory
    if not TYPE_CHECKING:
        __init__ = _with_our_memory(standard.ShareableList.__init__)
