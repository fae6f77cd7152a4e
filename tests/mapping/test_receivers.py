"""What compiled methods are called on: an object of their class, or it is a TypeError."""

import inspect
import os
import pickle
import subprocess
import sys
from unittest import mock

import pytest

import yammap
from yammap import _core, compat
from yammap._file import gather
from yammap._linux import calls

# Calls every method of every compiled class on what is not of it. A crash would end it.
PROGRAM = """
import os, sys, yammap
from yammap import _core, compat
from yammap._file import gather
from yammap._linux import calls

PARTS = (_core, gather, calls)
kinds = {k for part in PARTS for k in vars(part).values() if isinstance(k, type)}
kinds = {k for k in kinds if not k.__flags__ & 1 << 9}  # those of C
m = yammap.anonymous(10)
bare = _core.Mapping(os.memfd_create("bare"), "bare")
drop_in = compat.mmap(-1, 10)
strangers = (3, b"bytes", object(), object, None, [], m, bare, drop_in, m.guard(), m._turn,
             m.view().obj, _core.Kept(m))
tried = 0

def refuses(call, *arguments):
    global tried
    tried += 1
    try:
        call(*arguments)
    except TypeError:
        return
    sys.exit(f"{call!r} takes {arguments!r}")

for kind in kinds:
    own = {name: thing for name, thing in vars(kind).items() if name != "__new__"}
    for name, thing in own.items():
        if not callable(thing):
            continue
        refuses(thing)
        for stranger in strangers:
            if not isinstance(stranger, kind):
                for count in range(4):
                    refuses(thing, stranger, *[1] * count)
                refuses(type(thing).__call__, thing, stranger)
print(len(kinds), tried)
"""


def test_no_method_takes_what_is_not_of_its_class():
    done = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM], capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    kinds, tried = map(int, done.stdout.split())
    assert kinds >= 15
    assert tried > 4000


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: yammap.Mmap.size(3),
            "size() is for objects of yammap.Mapping, not of int",
        ),
        (
            lambda: yammap.Mapping.pread(),
            "pread() of yammap.Mapping is called without an object",
        ),
        (
            lambda: yammap.Mapping.size(self=3),
            "size() of yammap.Mapping is called without an object",
        ),
    ],
)
def test_the_error_says_of_which_class_the_object_should_be(call, text):
    with pytest.raises(TypeError) as raised:
        call()
    assert str(raised.value) == text


def test_methods_are_called_unbound_on_their_own():
    m = yammap.anonymous(10)
    for _ in range(2):  # the first time the class is looked up, and then it is known
        assert yammap.Mapping.size(m) == yammap.Mmap.size(m) == 10
        assert yammap.Mapping.pread(m, size=3, offset=0) == bytes(3)
    with pytest.raises(TypeError, match="positional"):
        m.size(1)
    with pytest.raises(TypeError, match="keyword"):
        m.size(a=1)
    with pytest.raises(TypeError, match="positional"):
        m.append()
    with pytest.raises(TypeError, match="positional"):
        m.append(b"", b"")


def test_a_class_that_changes_its_bases_is_looked_at_again():
    class Lines(_core.LineReader):
        pass

    class Changing(Lines, _core.FixedLength):
        pass

    m = Changing()
    _core.map_descriptor(m, os.memfd_create("m"), "m")
    for _ in range(2):
        assert _core.FixedLength.find(m, b"x") == -1
    Changing.__bases__ = (Lines,)
    assert m.size() == 0  # which gives the class a version again
    with pytest.raises(TypeError, match=r"of yammap._core.FixedLength, not of Changing"):
        _core.FixedLength.find(m, b"x")


def test_no_class_is_kept_alive_for_being_known(child):
    """Alone, since CPython 3.13 without a GIL frees no class once there was a thread."""
    child("""
        import gc, os, weakref, yammap

        class Own(yammap.Mmap):
            pass

        m = Own(os.memfd_create("m"), "m")
        assert m.size() == 0
        m.close()
        seen = weakref.ref(Own)
        del m, Own
        gc.collect()
        assert seen() is None
        """)


def test_methods_tell_how_they_are_called():
    assert str(inspect.signature(yammap.Mmap.pread)) == "(self, size, offset)"
    assert str(inspect.signature(yammap.anonymous(1).pread)) == "(size, offset)"
    assert pickle.loads(pickle.dumps(yammap.Mapping.pread)) is yammap.Mapping.pread
    assert yammap.Mapping.pread.__doc__.startswith("Return up to `size` bytes")
    mock.create_autospec(yammap.Mmap, instance=True).pread(1, 0)
    mock.create_autospec(compat.mmap, instance=True).find(b"")


@pytest.mark.parametrize("function", [gather.gather, calls.Descriptor.__enter__])
def test_functions_of_other_modules_tell_so_too(function):
    assert inspect.signature(function).parameters
