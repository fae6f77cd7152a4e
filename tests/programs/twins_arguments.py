"""The arguments of `twins`: sizes at the edges, lines, and what is no number or no data."""

import array
import os

import numpy as np

PAGE = os.sysconf("SC_PAGESIZE")
SIZES = [1, 255, 256, 257, PAGE - 1, PAGE, PAGE + 1]
SIZES += [2 * PAGE, 3 * PAGE + 17, 16 * PAGE - 1, 16 * PAGE, 16 * PAGE + 1]
# Pages, and the buffers that an implementation may have.
EDGES = [0, 1, 16, 64, 255, 256, 257, 512, 1024, PAGE, 2 * PAGE, 16 * PAGE]
HUGE = [2**31 - 1, 2**31, 2**32, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30]


class Own(Exception):  # noqa: N818
    """What an argument raises by itself."""


class Acting:
    """A number that does something to the file `on` of the moment when it is looked at."""

    on = None

    def __init__(self, act, value):
        self.act, self.value = act, value

    def __repr__(self):
        return f"Acting({self.act!r}, {self.value})"

    def __index__(self):
        if self.act == "close":
            Acting.on.close()
        elif self.act == "seek":
            Acting.on.seek(1)
        elif self.act == "raise":
            raise Own
        return "no number" if self.act == "text" else self.value


def line_of(random, length):
    return bytes(random.randrange(97, 123) for _ in range(min(length, 9))).ljust(
        length, b"x"
    )


def lines(random, size):
    """Return `size` bytes of lines: of few bytes, around a page, of records, or none."""
    most = random.choice([3, 40, 40, 40, 300, PAGE, 3 * PAGE])
    around = random.choice([0, 0, 255, 256, PAGE])
    made = bytearray()
    while len(made) < size:
        length = random.randrange(most) if random.randrange(4) else around
        made += line_of(random, length) + b"\n"
    return bytes(made[:size])


def number(random, size, odd=0.04):
    """Return a number that matters to a file of that size, or, at times, none at all."""
    chance = random.random()
    if chance < odd:
        return odd_number(random)
    if chance < 0.3:
        return random.randint(-3, 40)
    if chance < 0.6:
        return random.choice([*EDGES, size, size // 2]) + random.randint(-1, 1)
    return random.randint(-size - 3, size + 3)


def odd_number(random):
    n = random.randint(0, 9)
    kinds = [
        *[None, True, 1.5, float(n), "1", b"1", [], 1j],
        *[np.int64(n), np.uint8(n), np.int64(-n), np.float64(n), np.bool_(True)],
        *[np.array(n), np.array([n]), np.array([1, 2]), np.uint64(2**64 - 1)],
        *[Acting(act, n) for act in ("seek", "close", "raise", "text", "none")],
        *random.choices(HUGE, k=6),
    ]
    return random.choice(kinds)


def data(random, odd=0.05):
    """Return bytes to write, in one of the forms that they come in, or what is none."""
    if random.random() < odd:
        return random.choice(["text", None, 7, 1.5, [1], memoryview(b"abcd")[::2]])
    some = random.random()
    length = random.randrange(20) if some < 0.6 else random.choice(SIZES[:7])
    if some > 0.98:
        length = random.choice(SIZES)
    made = lines(random, length)
    form = random.randrange(12)
    if form == 0:
        return bytearray(made)
    if form == 1:
        return memoryview(made)
    if form == 2:
        return np.frombuffer(made, np.uint8)
    if form == 3:
        return array.array("H", made[: length // 2 * 2])
    return made


def needle(random):
    if random.random() < 0.05:
        return random.choice(["text", None, 10, 1.5, memoryview(b"abcd")[::2]])
    return random.choice(
        [b"\n", b"", b"x", b"xx\n", b"\n\n", b"ab", b"absent!", b"x" * 300]
    )


def slice_of(random, size):
    def end():
        return None if random.randrange(4) == 0 else number(random, size, 0.02)

    if random.randrange(3):
        return slice(end(), end())
    step = random.choice([None, 1, 2, 3, 7, 256, PAGE, -1, -2, -PAGE, 0, 2**40, -(2**63)])
    return slice(end(), end(), step if random.random() > 0.05 else odd_number(random))
