"""The calls of `twins` on an `mmap.mmap` and a `yammap.compat.mmap`.

What is different on purpose is left out, or expected: see docs/migration/mmap.md.
"""

import itertools
import mmap as standard
import operator
import sys

import numpy as np
from twins_arguments import HUGE, PAGE, Acting, data, needle, number, slice_of

from yammap import compat

READ = {"access": standard.ACCESS_READ}
# How a file, or memory that begins as one, is mapped.
KINDS = {
    "default": {},
    "write": {"access": standard.ACCESS_WRITE},
    "copy": {"access": standard.ACCESS_COPY},
    "read": READ,
    "prot": {"prot": standard.PROT_READ},
    "private": {"flags": standard.MAP_PRIVATE},
    "window": {"offset": PAGE},
    "memory": {},
    "private memory": {"flags": standard.MAP_PRIVATE},
}

LASTING = [standard.MADV_RANDOM, standard.MADV_SEQUENTIAL, 12345, None, 1.5, 2**31]
SYNC_FLAGS = [0, 1, 2, 3, 4, 5, 6, 8, -1, 2**31, None, 1.5]
PASSING = [standard.MADV_WILLNEED, standard.MADV_DONTNEED, standard.MADV_REMOVE]


class Twin:
    """One of the two: a mapping, and the file behind it."""

    def __init__(self, is_model, folder, kind, content):
        module = standard if is_model else compat
        self.path, self.kind = folder / ("theirs" if is_model else "ours"), kind
        self.path.write_bytes(content)
        options = dict(KINDS[kind])
        if len(content) <= PAGE:
            options.pop("offset", None)
        self.is_memory, self.is_readonly = "memory" in kind, kind in ("read", "prot")
        with open(self.path, "r+b") as file:
            if self.is_memory:
                self.file = module.mmap(-1, len(content), **options)
                self.file[:] = content
            else:
                self.file = module.mmap(file.fileno(), 0, **options)

    def call(self, name, arguments):
        if name in ACTIONS:
            return ACTIONS[name](self.file, *arguments)
        return getattr(self.file, name)(*arguments)

    def place(self):
        return self.file.tell(), len(self.file)

    def content(self):
        return self.file[:], self.path.read_bytes()

    def is_small(self):
        return len(self.file) < 5 * PAGE

    def close(self):
        self.file.close()


def through_a_view(m, start, stop):
    with memoryview(m) as view:
        shape = view.readonly, view.nbytes, view.format, view.ndim, view.contiguous
        return view[start:stop].tobytes(), shape


def from_a_buffer(m, at, value):
    with memoryview(m) as view:
        view[at] = value


ACTIONS = {
    "len": len,
    "bool": bool,
    "repr": repr,
    "bytes": bytes,
    "getitem": operator.getitem,
    "setitem": operator.setitem,
    "delitem": operator.delitem,
    "contains": operator.contains,
    "add": operator.add,
    "multiply": operator.mul,
    "iterate": lambda m, count: list(itertools.islice(m, count)),
    "reversed": lambda m, count: list(itertools.islice(reversed(m), count)),
    "closed": lambda m: m.closed,
    "view": through_a_view,
    "store": from_a_buffer,
    "lines": lambda m, count: [m.readline() for _ in range(count)],
    "keyword": lambda m, name: getattr(m, name)(bogus=1),
    "excess": lambda m, name: getattr(m, name)(*4 * (1,)),
    "lack": lambda m, name: getattr(m, name)(),
    "flush with": lambda m, flags, *more: m.flush(*more, flags=flags),
}
NAMES = ["seek", "read", "read_byte", "write", "write_byte", "readline", "find", "rfind"]
NAMES += ["move", "tell", "size", "resize", "flush", "madvise", "close"]
CHANGING = {"setitem", "write", "write_byte", "move", "resize", "madvise", "store"}


def whence(random):
    return random.choice([0, 0, 1, 1, 1, 2, 2, 3, 4, -1, 5, 1.0, None, 2**31, True])


def item(random):
    """A byte. One that no size can have is out of range here, and a TypeError in `mmap`."""
    value = number(random, 255)
    is_too_large = isinstance(value, (int, np.integer)) and abs(int(value)) > 2**31
    return 7 if is_too_large else value


def assignment(random, size):
    if random.randrange(2):
        return number(random, size), item(random)
    start = number(random, size, 0)
    piece = data(random)
    if random.randrange(3) == 0 or not hasattr(piece, "__len__"):
        return slice_of(random, size), piece
    if random.randrange(4) == 0:
        return slice(start, start + 3 * len(piece), 3), piece
    return slice(start, start + len(piece)), piece


def within(random, size):
    return random.randrange(size + 1)


# Weight, and arguments.
CALLS = {
    "len": (1, lambda r, n: ()),
    "bool": (1, lambda r, n: ()),
    "repr": (1, lambda r, n: ()),
    "bytes": (1, lambda r, n: ()),
    "closed": (1, lambda r, n: ()),
    "getitem": (8, lambda r, n: (number(r, n) if r.randrange(2) else slice_of(r, n),)),
    "setitem": (8, assignment),
    "delitem": (1, lambda r, n: (r.choice([0, n, 1.5, slice(3), slice(9, None, 2)]),)),
    "contains": (2, lambda r, n: (needle(r),)),
    "add": (1, lambda r, n: (b"x",)),
    "multiply": (1, lambda r, n: (2,)),
    "iterate": (1, lambda r, n: (r.randrange(20),)),
    "reversed": (1, lambda r, n: (r.randrange(20),)),
    "view": (2, lambda r, n: (within(r, n), within(r, n))),
    "store": (1, lambda r, n: (within(r, n), r.randrange(256))),
    "keyword": (1, lambda r, n: (r.choice(NAMES),)),
    "excess": (1, lambda r, n: (r.choice(NAMES),)),
    "lack": (1, lambda r, n: (r.choice(["seek", "write", "find", "move", "madvise"]),)),
    "tell": (3, lambda r, n: ()),
    "size": (1, lambda r, n: ()),
    "seek": (10, lambda r, n: (number(r, n),) if r.randrange(2) else (within(r, n),)),
    "read": (8, lambda r, n: (number(r, n),) if r.randrange(8) else ()),
    "read_byte": (5, lambda r, n: ()),
    "readline": (8, lambda r, n: ()),
    "lines": (2, lambda r, n: (r.randrange(9),)),
    "write": (8, lambda r, n: (data(r),)),
    "write_byte": (5, lambda r, n: (number(r, 255),)),
    "find": (5, lambda r, n: sought(r, n)),
    "rfind": (5, lambda r, n: sought(r, n)),
    "move": (4, lambda r, n: (number(r, n), number(r, n), number(r, n))),
    "flush": (2, lambda r, n: flushed(r, n)),
    "madvise": (2, lambda r, n: advice(r, n)),
    "resize": (1, lambda r, n: (new_size(r, n),)),
}
if sys.version_info >= (3, 15):
    CALLS["flush with"] = 2, lambda r, n: (r.choice(SYNC_FLAGS), *flushed(r, n))
    CALLS["set_name"] = 1, lambda r, n: (r.choice(["name", "é" * 34, "a\0", b"name", 7]),)
WHENCE = "seek from"
CALLS[WHENCE] = 6, lambda r, n: (number(r, n), whence(r))
ACTIONS[WHENCE] = lambda m, offset, whence: m.seek(offset, whence)


def sought(random, size):
    sub, odd = needle(random), random.choice([0, 0.04])
    bounds = [number(random, size, odd) for _ in range(random.randrange(3))]
    return (sub if not odd else b"\n", *bounds)


def flushed(random, size):
    if random.randrange(3) == 0:
        return ()
    start = random.choice([0, 0, PAGE, 1, number(random, size)])
    return (start, random.choice([0, 1, PAGE, size, number(random, size)]))


def advice(random, size):
    """Return advice, that lasts for the whole mapping: parts of it `mmap` cannot resize."""
    start = random.choice([0, 0, PAGE, number(random, size)])
    more = start, random.choice([1, PAGE, number(random, size)])
    option = random.choice([*LASTING, *PASSING])
    return (option, *more[: random.randrange(3) if option in PASSING else 0])


def new_size(random, size):
    """Return a size, or what is none; not 0, which leaves `mmap` no bytes to touch."""
    if random.randrange(20) == 0:
        return random.choice(
            [None, 1.5, "1", True, np.int64(1), *HUGE[3:], Acting("raise", 1)]
        )
    return number(random, random.choice([size, 2 * size, 4 * PAGE]), 0) or 1


DRAWN = [name for name, (weight, _) in CALLS.items() for _ in range(weight)]


def draw(random, size):
    """Return a call: a name and arguments."""
    name = random.choice(DRAWN)
    return name, CALLS[name][1](random, size)


def is_left_out(twin, _, name, arguments):
    """Whether the two are different there on purpose, or `mmap` would crash."""
    if name == "resize":
        return is_resize_left_out(twin, *arguments)
    if twin.is_readonly and name in CHANGING:  # what looks at the arguments before
        removes = name == "madvise" and arguments[0] == standard.MADV_REMOVE
        return removes or acts(arguments)
    return (name, *arguments) == ("excess", "readline")  # ours takes a size


def acts(arguments):
    return any(
        acts((each.start, each.stop, each.step))
        if isinstance(each, slice)
        else isinstance(each, Acting)
        for each in arguments
    )


def is_resize_left_out(twin, size):
    if "private" in twin.kind:
        return True
    if not isinstance(size, int):
        return False
    return 2**20 < size < 2**63 or (twin.is_memory and size > len(twin.file))


# Advice that is not followed has an errno value, and words of its own.
READ_ONLY = "mmap can't modify a readonly memory map"
OWN_WORDS = {"madvise"}
# Of a wrong index and a wrong value the first releases of 3.13 say the index, as ours does.
MAY_SAY_ANOTHER = sys.version_info[:2] == (3, 13)


def is_same(name, theirs, ours):
    if not isinstance(theirs, Exception):
        new = sys.version_info < (3, 13) and name in ("seek", WHENCE)
        return (type(theirs), theirs) == (type(ours), ours) or (new and theirs is None)
    if name in ("resize", "store") and READ_ONLY in f"{theirs} {ours}":
        return isinstance(ours, Exception)  # which may be of a bad argument
    if MAY_SAY_ANOTHER and isinstance(ours, IndexError) and name in ("setitem", "delitem"):
        return True
    if not isinstance(ours, type(theirs)):
        return False
    if isinstance(theirs, OSError):
        return theirs.errno == ours.errno
    # Words for another type of argument are those of Python, for whatever converts it.
    is_promised = isinstance(theirs, (ValueError, IndexError)) or "mmap " in str(theirs)
    return str(ours).startswith(str(theirs)) or not is_promised or name in OWN_WORDS
