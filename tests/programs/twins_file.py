"""The calls of `twins` on an `io.FileIO` and a `yammap.Mmap`, and on the files behind.

Others change both files in the same way, in between and through descriptors of their own.
"""

import array
import io
import itertools
import operator
import os

import numpy as np
from twins_arguments import EDGES, PAGE, Acting, Own, data, lines, number, odd_number

import yammap

LIMIT = 1 << 18
# The mode, and how else a mapping is opened that does the same.
KINDS = {
    "r+": {},
    "a+": {},
    "r": {},
    "w+": {},
    "r+, small reserve": {"reserve": 0},
    "a+, small reserve": {"reserve": 0},
    "r+, pread": {"engine": "pread"},
    "a+, pread": {"engine": "pread"},
    "r+, descriptor": {},
    "a+, descriptor": {},
    "r+, ahead": {"ahead": 2 * PAGE},
}


class Searching(io.FileIO):
    """A FileIO that does not look for the end of a line by a system call for each byte."""

    def readline(self, size=-1, /):
        size = -1 if size is None else operator.index(size)
        start = self.tell()
        data = os.pread(
            self.fileno(), 2 * LIMIT if size < 0 else min(size, 2 * LIMIT), start
        )
        line = data[: data.find(b"\n") + 1] or data
        self.seek(start + len(line))
        return line


class Twin:
    """One of the two: a file object, and a descriptor that others have of the file."""

    def __init__(self, is_model, folder, kind, content):
        self.path = folder / ("theirs" if is_model else "ours")
        self.path.write_bytes(content)
        mode = kind.partition(",")[0]
        if is_model:
            make = io.FileIO if kind in ("r+", "a+") else Searching
            self.file = make(self.path, mode)
        else:
            self.file = yammap.open(self.path, mode, **KINDS[kind])
        self.is_alone, self.is_out = "ahead" in kind, "descriptor" in kind
        self.other = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        self.file.seekable()  # which a FileIO decides by the first seek, even if that fails
        if self.is_out:
            self.file.fileno()

    def call(self, name, arguments):
        if name in OTHERS:
            return OTHERS[name](self.other, *arguments)
        if name in ACTIONS:
            return ACTIONS[name](self.file, *arguments)
        return getattr(self.file, name)(*arguments)

    def size(self):
        """Return the size that everybody sees: what runs ahead is nothing yet."""
        if self.is_alone and isinstance(self.file, yammap.Mmap):
            return len(self.file)
        return os.fstat(self.other).st_size

    def place(self):
        if (size := self.size()) > LIMIT:
            self.file.truncate(PAGE) if self.is_alone else os.ftruncate(self.other, PAGE)
        return self.file.tell(), size

    def content(self):
        return os.pread(self.other, self.size(), 0)

    def is_small(self):
        return self.size() < 5 * PAGE

    def close(self):
        self.file.close()
        os.close(self.other)


TARGETS = {
    "bytearray": bytearray,
    "memoryview": lambda n: memoryview(bytearray(n)),
    "array of H": lambda n: array.array("H", bytes(2 * n)),
    "ndarray": lambda n: np.zeros((n, 3), np.uint8),
    "bytes": bytes,
    "every second": lambda n: memoryview(bytearray(n))[::2],
    "text": lambda n: "x" * n,
    "None": lambda n: None,
}


def read_into(file, kind, size):
    target = TARGETS[kind](size)
    return file.readinto(target), bytes(target)


def failing_lines(pieces):
    yield from pieces
    raise Own


def write_some_lines(file, pieces):
    file.writelines(failing_lines(pieces))


def through_the_descriptor(file, name, *arguments):
    return getattr(os, name)(file.fileno(), *arguments)


def append(fd, piece):
    return os.pwrite(fd, piece, os.fstat(fd).st_size)


def cut(fd, piece):
    """Cut that many bytes of the end off."""
    os.ftruncate(fd, max(0, os.fstat(fd).st_size - piece))


ACTIONS = {
    "readinto": read_into,
    "all lines": lambda file, *hint: file.readlines(*hint),
    "next": lambda file: next(file, None),
    "iterate": lambda file, count: list(itertools.islice(file, count)),
    "write_some": write_some_lines,
    "closed": lambda file: file.closed,
    "mode": lambda file: file.mode,
    "seek from": lambda file, offset, whence: file.seek(offset, whence),
    "descriptor": through_the_descriptor,
    "keyword": lambda file, name: getattr(file, name)(bogus=1),
    "excess": lambda file, name: getattr(file, name)(*4 * (1,)),
}
OTHERS = {"others write": os.pwrite, "others append": append}
OTHERS |= {"others cut": cut, "others truncate": os.ftruncate}
NAMES = ["seek", "read", "readall", "readinto", "readline", "readlines", "write"]
NAMES += ["writelines", "tell", "truncate", "readable", "seekable", "writable", "isatty"]


def offset(random, size):
    """Mostly not past the end by far: what is written there makes the file longer."""
    return random.choice([random.randrange(size + 1), number(random, size)])


def whence(random):
    return random.choice([0, 0, 1, 1, 1, 2, 2, 2, 5, -1, 1.0, None, True])


def target(random, size):
    kind = random.choice(list(TARGETS)[: 8 if random.randrange(8) == 0 else 4])
    return kind, random.choice([random.randrange(40), *EDGES[:10]])


def pieces(random):
    some = [data(random, 0.01) for _ in range(random.randrange(5))]
    return tuple(some) if random.randrange(2) else some


def descriptor(random, size):
    return random.choice(
        [
            ("write", lines(random, random.choice([3, 60, PAGE]))),
            ("read", random.choice([3, 60, PAGE])),
            ("lseek", random.randrange(size + 1), os.SEEK_SET),
            ("lseek", 0, os.SEEK_END),
            ("ftruncate", random.randrange(size + 1)),
        ]
    )


def length(random, size):
    """A size to truncate to. No other may be less than 0: see `yammap.Mmap.truncate`."""
    if random.randrange(20) == 0:
        return random.choice([1.5, "1", b"1", [], Acting("raise", 1), np.float64(3)])
    return random.choice([None, abs(number(random, size, 0)), random.randrange(size + 1)])


# Weight, and arguments.
CALLS = {
    "read": (10, lambda r, n: (number(r, n),) if r.randrange(6) else ()),
    "readall": (1, lambda r, n: ()),
    "readinto": (8, target),
    "readline": (12, lambda r, n: (number(r, 300),) if r.randrange(4) == 0 else ()),
    "readlines": (2, lambda r, n: (r.choice([1, 60, 300, PAGE, np.int64(9)]),)),
    "all lines": (1, lambda r, n: r.choice([(), (None,), (0,), (-1,)])),
    "next": (8, lambda r, n: ()),
    "iterate": (3, lambda r, n: (r.randrange(9),)),
    "write": (10, lambda r, n: (data(r),)),
    "writelines": (3, lambda r, n: (pieces(r) if r.randrange(9) else odd_number(r),)),
    "write_some": (1, lambda r, n: (pieces(r),)),
    "seek": (14, lambda r, n: (offset(r, n),)),
    "seek from": (8, lambda r, n: (number(r, n), whence(r))),
    "tell": (2, lambda r, n: ()),
    "truncate": (4, lambda r, n: (length(r, n),) if r.randrange(4) else ()),
    "closed": (1, lambda r, n: ()),
    "mode": (1, lambda r, n: ()),
    "readable": (1, lambda r, n: ()),
    "writable": (1, lambda r, n: ()),
    "seekable": (1, lambda r, n: ()),
    "isatty": (1, lambda r, n: ()),
    "keyword": (1, lambda r, n: (r.choice(NAMES),)),
    "excess": (1, lambda r, n: (r.choice(NAMES),)),
    "descriptor": (8, descriptor),
    "others write": (8, lambda r, n: (lines(r, r.randrange(99)), r.randrange(n + 1))),
    "others append": (5, lambda r, n: (lines(r, r.choice([9, 99, PAGE])),)),
    "others cut": (5, lambda r, n: (r.choice([1, 9, 99, PAGE]),)),
    "others truncate": (5, lambda r, n: (r.randrange(n + 2),)),
}
CHANGING = {"write", "writelines", "write_some", "truncate", "descriptor", *OTHERS}
DRAWN = [name for name, (weight, _) in CALLS.items() for _ in range(weight)]


READING = {"read", "readinto", "readline", "readlines", "next", "iterate"}


def draw(random, size):
    """Return a call: a name and arguments."""
    name = random.choice(DRAWN)
    return name, CALLS[name][1](random, size)


def is_left_out(theirs, ours, name, arguments):
    """Whether nobody does that to this file, or the two are different there on purpose."""
    if name in OTHERS:
        return theirs.is_alone
    if name == "descriptor":
        return not theirs.is_out
    if name in ("truncate", "seek", "seek from") and arguments:
        # That would take a disk, or where a filesystem ends it ends for a FileIO alone.
        most = LIMIT if name == "truncate" else 2**40
        if isinstance(arguments[0], int) and most < arguments[0] < 2**63:
            return True
    if theirs.file.tell() > LIMIT:
        return name not in ("seek", "tell")
    if name in ("read", "readline") and is_beyond_any_size(name, *arguments):
        return True
    return name in READING and is_cut_in_a_page(theirs, ours, name, arguments)


def is_beyond_any_size(name, size=None):
    """A FileIO refuses it, or makes room for all of it; a mapping reads what there is."""
    most = 2**31 if name == "read" else 2**63
    return isinstance(size, (int, np.integer)) and not -(2**63) <= size < most


def is_cut_in_a_page(theirs, ours, name, arguments):
    """Whether a mapping would not see where another has cut the file.

    Such a cut is no fault, and only who comes to the end that was known looks there.
    """
    size, known = theirs.size(), len(ours.file)
    end = -(-size // PAGE) * PAGE
    if known <= size or size == end:
        return False
    count = arguments[-1] if name in ("read", "readinto") and arguments else None
    return type(count) is not int or 0 <= count <= end - theirs.file.tell()


def is_same(name, theirs, ours):
    if not isinstance(theirs, Exception):
        if name == "mode" and theirs == "wb+":  # so since Python 3.15
            theirs = "rb+"
        return (type(theirs), theirs) == (type(ours), ours)
    if name.startswith("seek"):  # ours tells what cannot be a position, and what no whence
        return isinstance(ours, (type(theirs), OSError, ValueError))
    if isinstance(theirs, io.UnsupportedOperation):
        return isinstance(ours, Exception)  # it may tell of a bad argument first
    if isinstance(theirs, OSError):
        return isinstance(ours, OSError) and theirs.errno == ours.errno
    return isinstance(ours, type(theirs))
