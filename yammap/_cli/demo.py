"""``yammap demo``: make a token file of the standard library's source, and use it.

yammap, `mmap` and `np.memmap` take turns at all work that is timed, each on a file of its
own and in a process of its own, and must come to the same bytes. The three stand in this
order everywhere.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import platform
import re
import resource
import signal
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from bisect import bisect_right
from collections import Counter
from functools import partial
from itertools import accumulate
from multiprocessing import Pipe
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

import yammap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    _Job = Callable[[], object]
    _Tokens = NDArray[Any]
    _Row = tuple[str, ...]

__all__ = ["Vocabulary", "run", "sources"]

TOKEN = np.dtype("<u2")
WINDOW = 1025
WINDOW_BYTES = WINDOW * TOKEN.itemsize
WINDOWS = 20_000
APPENDS = 500
ROUNDS = 11
TOKENS_A_BYTE = 0.75  # bytes of tokens for a byte of text, at most
SPARE = 1 << 20  # bytes that the filesystem may need for itself


# -- Text and tokens


class Vocabulary:
    """Tokens: the 256 bytes and the most frequent pieces of texts, as 16-bit numbers."""

    _PIECE = re.compile(rb" ?\w+|\s+|[^\w\s]+")

    def __init__(self, texts: Iterable[bytes]) -> None:
        counts: Counter[bytes] = Counter()
        for text in texts:
            counts.update(self._PIECE.findall(text))
        frequent = [piece for piece, _ in counts.most_common(1 << 16) if len(piece) > 1]
        self.pieces = ([bytes([byte]) for byte in range(256)] + frequent)[: 1 << 16]
        self._codes = _Codes(
            (piece, token.to_bytes(2, "little")) for token, piece in enumerate(self.pieces)
        )

    def encode(self, text: bytes) -> _Tokens:
        """Return the tokens of a text."""
        pieces = self._PIECE.findall(text)
        return np.frombuffer(b"".join(map(self._codes.__getitem__, pieces)), TOKEN)

    def decode(self, tokens: _Tokens) -> bytes:
        """Return the text of tokens."""
        return b"".join(map(self.pieces.__getitem__, tokens.tolist()))


class _Codes(dict[bytes, bytes]):
    def __missing__(self, piece: bytes) -> bytes:
        """Spell a piece byte by byte that is too rare for a number of its own."""
        return b"".join(self[piece[i : i + 1]] for i in range(len(piece)))


def sources(root: Path) -> list[bytes]:
    """Return the Python files under a library's folder, without installed packages."""
    installed = {"site-packages", "dist-packages"}
    paths = sorted(
        path
        for path in root.rglob("*.py")
        if path.is_file() and installed.isdisjoint(path.relative_to(root).parts)
    )
    if not paths:
        sys.exit(f"yammap demo: no Python source file was found in {root}")
    return [path.read_bytes() for path in paths]


# -- Measuring


@contextlib.contextmanager
def apart(job: _Job) -> Iterator[Callable[[], tuple[float, bytes]]]:
    """Give a function that does the job in a process of its own, which the job may kill.

    The function returns the seconds that the job took, and its result if that is bytes.
    """
    ours, theirs = Pipe()
    with warnings.catch_warnings():
        # Python warns of forking with threads. The only ones here are NumPy's, and idle.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        ours.close()
        serve(job, theirs)
    theirs.close()
    try:
        yield partial(ask, ours, pid)
    finally:
        ours.close()
        os.waitpid(pid, 0)


def serve(job: _Job, pipe: Connection) -> None:
    """Do the job for each message in the pipe, until its other end is closed."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent gets it as well
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        while pipe.recv():
            start = perf_counter()
            result = job()
            seconds = perf_counter() - start
            pipe.send((seconds, result if isinstance(result, bytes) else b""))
    except (EOFError, ConnectionError):
        pass
    except BaseException as error:
        pipe.send(f"{type(error).__name__}: {error}")
    finally:
        os._exit(0)


def ask(pipe: Connection, pid: int) -> tuple[float, bytes]:
    try:
        pipe.send(True)
        answer = pipe.recv()
    except (EOFError, ConnectionError):
        ended = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        answer = f"killed by {signal.Signals(ended.si_status).name}" if ended else "gone"
    if isinstance(answer, str):
        sys.exit(f"yammap demo: a worker process stopped: {answer}")
    seconds, result = answer
    return seconds, result


def best_times(
    jobs: Sequence[_Job], prepare: Callable[[int], object] = lambda _: None
) -> list[float]:
    """Return the best seconds of each job; jobs take turns, so that noise hits all."""
    best = [math.inf] * len(jobs)
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(apart(job)) for job in jobs]
        for _ in range(ROUNDS):
            for i, process in enumerate(processes):
                prepare(i)
                best[i] = min(best[i], process()[0])
    return best


def result_of(job: _Job) -> bytes:
    with apart(job) as process:
        return process()[1]


def require_same(results: Iterable[bytes]) -> None:
    if len(set(results)) != 1:
        raise RuntimeError("yammap, mmap and np.memmap came to different bytes")


def microseconds(seconds: float) -> str:
    return f"{seconds * 1e6:.2f} µs"


def row_of(
    work: str,
    ways: Sequence[str],
    times: Sequence[float],
    figure: Callable[[float], str] = microseconds,
) -> _Row:
    cells = [f"{figure(time)}\n{way}" for time, way in zip(times, ways, strict=True)]
    return work, *cells, f"{min(times[1:]) / times[0]:.2f}"


def time_writers(
    paths: Sequence[Path],
    tokens: _Tokens,
    writers: Iterable[Callable[[Path, _Tokens], None]],
    prepare: Callable[[Path], object],
) -> list[float]:
    """Return the seconds that each writer takes, on its own file."""
    jobs = [partial(f, path, tokens) for f, path in zip(writers, paths, strict=True)]
    times = best_times(jobs, lambda i: prepare(paths[i]))
    require_same(path.read_bytes() for path in paths)
    return times


def time_readers(*readers: tuple[Callable[..., _Tokens], Sequence[int]]) -> list[float]:
    """Return the seconds for each window, for readers that come with their positions."""
    require_same(result_of(partial(samples, *reader)) for reader in readers)
    times = best_times([partial(read, where) for read, where in readers])
    return [time / WINDOWS for time in times]


def samples(read: Callable[..., _Tokens], where: Sequence[int]) -> bytes:
    return b"".join(read(where[i : i + 1]).tobytes() for i in range(100))


# -- Writing


def write_by_yammap(path: Path, tokens: _Tokens) -> None:
    with yammap.create(path, tokens.nbytes) as m:
        m.write_at(tokens.data, 0)


def write_by_mmap(path: Path, tokens: _Tokens) -> None:
    with open(path, "w+b") as file:
        file.truncate(tokens.nbytes)
        with mmap.mmap(file.fileno(), tokens.nbytes) as m:
            m[:] = tokens.data.cast("B")


def write_by_memmap(path: Path, tokens: _Tokens) -> None:
    np.memmap(path, TOKEN, "w+", shape=tokens.shape)[:] = tokens


def write(paths: Sequence[Path], tokens: _Tokens) -> _Row:
    """Write the token file."""
    writers = (write_by_yammap, write_by_mmap, write_by_memmap)
    times = time_writers(paths, tokens, writers, lambda path: path.unlink(missing_ok=True))
    return row_of(
        f"write {tokens.nbytes / 1e6:.1f} MB",
        ("create, write_at", "truncate, m[:]=", "w+, a[:]="),
        times,
        lambda time: f"{tokens.nbytes / time / 1e9:.2f} GB/s",
    )


# -- Reading


def copy_by_yammap(m: yammap.Mmap, offsets: Sequence[int]) -> _Tokens:
    window = np.empty(WINDOW, TOKEN)
    buffer = window.data.cast("B")
    for offset in offsets:
        m.read_at(buffer, offset)
    return window


def copy_by_mmap(m: mmap.mmap, offsets: Sequence[int]) -> _Tokens:
    window = np.empty(WINDOW, TOKEN)
    buffer = window.data.cast("B")
    for offset in offsets:
        buffer[:] = m[offset : offset + WINDOW_BYTES]
    return window


def copy_by_memmap(array: _Tokens, starts: Sequence[int]) -> _Tokens:
    window = np.empty(WINDOW, TOKEN)
    for start in starts:
        window[:] = array[start : start + WINDOW]
    return window


def slice_array(array: _Tokens, starts: Sequence[int]) -> _Tokens:
    for start in starts:
        window = array[start : start + WINDOW]
    return window


def read(paths: Sequence[Path], count: int) -> list[_Row]:
    """Read random windows of a file of `count` tokens, with and without a copy."""
    starts = np.random.default_rng(0).integers(0, count - WINDOW, WINDOWS).tolist()
    offsets = [start * TOKEN.itemsize for start in starts]
    m = yammap.open(paths[0])
    with open(paths[1], "rb") as file:
        peer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    memmap = np.memmap(paths[2], TOKEN, "r")
    copies = time_readers(
        (partial(copy_by_yammap, m), offsets),
        (partial(copy_by_mmap, peer), offsets),
        (partial(copy_by_memmap, memmap), starts),
    )
    arrays = (m.array(TOKEN), np.frombuffer(peer, TOKEN), memmap)
    views = time_readers(*((partial(slice_array, array), starts) for array in arrays))
    return [
        row_of("copy a window\ninto a buffer", ("read_at", "m[i:j]", "a[i:j]"), copies),
        row_of("slice a window\nof an array", ("array", "frombuffer", "memmap"), views),
    ]


# -- Appending


def append_by_yammap(path: Path, window: _Tokens) -> None:
    with yammap.open(path, "r+") as m:
        first = m.array(TOKEN)
        for _ in range(APPENDS):
            m.append(window.data)
            array = m.array(TOKEN)
    if array.ctypes.data != first.ctypes.data:
        raise RuntimeError("the mapping moved under a live array")


def append_by_mmap(path: Path, window: _Tokens) -> None:
    with open(path, "r+b") as file:
        size = path.stat().st_size
        for i in range(APPENDS):
            os.pwrite(file.fileno(), window.data, size + i * WINDOW_BYTES)
            np.frombuffer(mmap.mmap(file.fileno(), 0), TOKEN)


def append_by_memmap(path: Path, window: _Tokens) -> None:
    with open(path, "a+b", buffering=0) as file:
        for _ in range(APPENDS):
            file.write(window.data)
            np.memmap(file, TOKEN, "r")


def append(paths: Sequence[Path], window: _Tokens) -> _Row:
    """Append a window while an array is alive, and make an array with the new end."""
    size = paths[0].stat().st_size
    with open(paths[1], "r+b") as file:
        m = mmap.mmap(file.fileno(), 0)
    array = np.frombuffer(m, TOKEN)
    refusal = error_of(m.resize, array.nbytes + WINDOW_BYTES).partition(":")[0]
    appenders = (append_by_yammap, append_by_mmap, append_by_memmap)
    times = time_writers(paths, window, appenders, lambda path: os.truncate(path, size))
    ways = ("append", f"{refusal}, so\npwrite and map anew", "write and\nmap anew")
    return row_of("append a window\nunder an array", ways, [t / APPENDS for t in times])


# -- Truncating

# The reader dies by a signal, so it turns core dumps off.
READER = """
import mmap, os, resource, sys
import numpy as np
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
with open(sys.argv[1], "rb") as file:
    m = {}
os.truncate(sys.argv[1], len(m) // 2)
bytes(m[-1000:])
"""


def truncate(paths: Sequence[Path]) -> tuple[_Row, str]:
    """Truncate each file under its reader; also return what yammap said."""
    with yammap.open(paths[0]) as m:
        os.truncate(paths[0], m.size() // 2)
        message = error_of(m.read_at, bytearray(1000), m.size() - 1000)
    ends = (
        message.partition(":")[0],
        end_of("mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)", paths[1]),
        end_of('np.memmap(file, mode="r")', paths[2]),
    )
    return ("read a window\nthat was cut off", *ends, ""), message


def error_of(action: Callable[..., object], *arguments: object) -> str:
    try:
        action(*arguments)
    except (BufferError, yammap.BusError) as error:
        return f"{type(error).__name__}: {error}"
    return "no error"


def end_of(mapping: str, path: Path) -> str:
    """Return how a process ends that reads truncated bytes of a peer's mapping."""
    command = [sys.executable, "-P", "-c", READER.format(mapping), str(path)]
    status = subprocess.run(command, stderr=subprocess.DEVNULL).returncode  # noqa: S603
    return f"{signal.Signals(-status).name},\nkilled" if status < 0 else f"exit {status}"


# -- Room on the disk

# Removes the files when the demo's pipe closes, whatever ended the demo, SIGKILL included.
# It runs in a session of its own and ignores signals, so that it outlives the demo.
SWEEPER = """
trap "" HUP INT QUIT TERM PIPE
echo
cat > /dev/null
exec rm -rf -- "$1"
"""


@contextlib.contextmanager
def temporary_directory(parent: str | None) -> Iterator[Path]:
    """Make a directory that is removed with its files, however this process ends."""
    folder = os.path.abspath(tempfile.mkdtemp(prefix="yammap-demo-", dir=parent))
    command = ["/bin/sh", "-c", SWEEPER, "sh", folder]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen(command, **pipes) as sweeper:  # type: ignore[call-overload]  # noqa: S603
        sweeper.stdout.readline()  # until it ignores signals
        yield Path(folder)


def free_in(directory: Path) -> float:
    """Return the bytes that are free; some filesystems do not tell their size."""
    system = os.statvfs(directory)
    return system.f_bavail * system.f_frsize if system.f_blocks else math.inf


def room_for(nbytes: float) -> float:
    """Return the bytes that three token files need, with what is appended and a tenth."""
    return 3.3 * (nbytes + APPENDS * WINDOW_BYTES) + SPARE


def fitting(texts: list[bytes], free: float) -> list[bytes]:
    """Return the texts whose token files have room: all, or the first ones."""
    most = ((free - SPARE) / 3.3 - APPENDS * WINDOW_BYTES) / TOKENS_A_BYTE
    return texts[: bisect_right(list(accumulate(map(len, texts))), most)]


def require_room(directory: Path, needed: float) -> None:
    """Refuse a directory without room: a full disk would kill the peers by SIGBUS."""
    free = free_in(directory)
    if free < needed:
        sys.exit(
            f"yammap demo: it needs {needed / 1e6:.0f} MB, and {directory.parent} has "
            f"{free / 1e6:.0f} MB free: choose another with --directory"
        )


# -- The report


def run(
    directory: str | None = None, agree: Callable[[str], bool] = lambda _: True
) -> None:
    """Run the demo in a temporary directory, if that is agreed to; print its results."""
    # A pipe has no width, COLUMNS may hold any, and the table needs 80.
    width = None if sys.stdout.isatty() else 80
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    where = Path(directory or tempfile.gettempdir())
    texts = sources(Path(sysconfig.get_path("stdlib")))
    chosen = fitting(texts, free_in(where)) or texts[:1]
    nbytes = room_for(TOKENS_A_BYTE * sum(map(len, chosen)))
    if not agree(
        f"The demo writes up to {nbytes / 1e6:.0f} MB to {where}, and removes it."
    ):
        console.print("Nothing was written.")
        return
    with temporary_directory(directory) as folder:
        paths = [folder / way for way in ("yammap", "mmap", "memmap")]
        report(console, paths, chosen)
    console.print("\nThe demo's files are removed.")


def report(console: Console, paths: Sequence[Path], texts: Sequence[bytes]) -> None:
    what = f"{len(texts):,} source files of Python {platform.python_version()}"
    console.print(f"Read {what}: {sum(map(len, texts)) / 1e6:.1f} MB.")
    vocabulary = Vocabulary(texts)
    tokens = np.concatenate([vocabulary.encode(text) for text in texts])
    console.print(f"Made {len(tokens):,} uint16 tokens of them.")
    require_room(paths[0].parent, room_for(tokens.nbytes))
    rows = [write(paths, tokens)]
    parts = np.array_split(yammap.open_array(paths[0], TOKEN), 16)
    if b"".join(map(vocabulary.decode, parts)) != b"".join(texts):
        raise RuntimeError("the tokens in the file do not give the text back")
    console.print("Written, mapped and decoded, the tokens gave every byte back.")
    rows += [*read(paths, len(tokens)), append(paths, tokens[:WINDOW])]
    end, message = truncate(paths)
    show(console, [*rows, end])
    console.print(f"\nIn this process, reading what was cut off raised:\n{message}")


HEADINGS = ("yammap", "mmap", "np.memmap", "ratio")
CAPTION = (
    f"A window is {WINDOW} tokens, read at random places. Best of {ROUNDS} rounds in "
    "turns.\nRatio: time of the faster peer / time of yammap; above 1 yammap is faster."
)


def show(console: Console, rows: Sequence[_Row]) -> None:
    """Print a table, or one row after the other where it would not fit."""
    if console.width >= 80:
        console.print(table_of(rows))
        return
    for work, *cells in rows:
        console.print(f"\n{work}".replace("\n", " ").strip(), style="bold")
        for heading, cell in zip(HEADINGS, cells, strict=True):
            if cell:
                console.print(f"  {heading:9}  {cell.replace(chr(10), ' ')}")
    console.print(f"\n{CAPTION}", style="dim")


def table_of(rows: Iterable[_Row]) -> Table:
    table = Table(box=box.SIMPLE, show_lines=True, caption=CAPTION, caption_justify="left")
    table.add_column()
    for heading in HEADINGS:
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*row)
    return table
