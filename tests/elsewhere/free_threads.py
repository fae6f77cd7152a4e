"""Run the tests about threads on a CPython without the GIL, which is built from its source.

    python tests/elsewhere/free_threads.py                    # tests, races, a short soak
    python tests/elsewhere/free_threads.py --work DIR         # keeps that Python for later
    python tests/elsewhere/free_threads.py tests/file tests/arrays --minutes 3

As root on Debian, whose packages have no such Python; with gcc, make, libffi-dev,
libssl-dev and zlib1g-dev. The source is Debian's, without the patches that Debian adds.

Knows apt and how CPython is configured. It must not know what yammap promises to threads.
"""

import argparse
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import guest

TREE = Path(__file__).resolve().parents[2]

# The stable suite: its mirrors keep the files of a source as long as they list them.
SUITE, SOURCE = "trixie", "python3.13"

# Cheap to compile: the tests wait for the kernel and for each other more than for Python.
CONFIGURE = [
    "--disable-gil",
    "--disable-test-modules",
    "--without-ensurepip",
    "OPT=-O1 -DNDEBUG",
]

TESTS = ["tests/core", "tests/mapping", "tests/memory", "tests/sigbus"]

# Without PYTHON_GIL: an extension that does not declare itself safe brings the GIL back.
GIL_IS_OFF = """
import sys, numpy, yammap
print(sys.version, "NumPy", numpy.__version__, flush=True)
assert not sys._is_gil_enabled()
"""


def run(*command: object, **options: object) -> None:
    subprocess.run([*map(str, command)], check=True, **options)


def python(work: Path) -> Path:
    """Return a Python without the GIL, which is built unless it is there."""
    place = work / "python"
    made = place / "bin/python3"  # the last that is installed
    if not made.exists():
        source = work / "source"
        unpacked = unpacked_source(source)
        with shown_if_it_fails(work / "log") as log:
            output = {"cwd": unpacked, "stdout": log, "stderr": log}
            run("./configure", f"--prefix={place}", *CONFIGURE, **output)
            run("make", "-j2", **output)
            run("make", "install", **output)
        shutil.rmtree(source)
    return made


@contextlib.contextmanager
def shown_if_it_fails(log: Path) -> Iterator[object]:
    with log.open("w") as file:
        try:
            yield file
        except subprocess.CalledProcessError:
            print(*log.read_text().splitlines()[-40:], sep="\n", flush=True)
            raise


def unpacked_source(place: Path) -> Path:
    """Return the directory in which Python's source is, fetched and checked by apt."""
    shutil.rmtree(place, ignore_errors=True)
    lists = place / "lists"
    (lists / "partial").mkdir(parents=True)
    apt = ["apt-get", *guest.sources_of(SUITE, "amd64", lists, ["deb-src"]), "-qq"]
    run(*apt, "update")
    run(*apt, "source", "--download-only", SOURCE, cwd=place)
    (archive,) = place.glob("*.orig.tar.xz")
    shutil.unpack_archive(archive, place)
    (unpacked,) = place.glob("Python-*")
    return unpacked


def environment(work: Path) -> Path:
    """Return the Python of a fresh environment that has yammap and its test tools."""
    run(python(work), "-m", "venv", "--clear", work / "environment")
    made = work / "environment/bin/python"
    # The newest NumPy and Hypothesis have no wheel for 3.13 without the GIL; older ones do.
    run(made, "-m", "pip", "install", "-q", "--prefer-binary", f"{TREE}[test]")
    run(made, "-P", "-c", GIL_IS_OFF)
    return made


def main() -> None:
    """Build what is missing, and run the tests; what fails raises."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="*", default=TESTS)
    parser.add_argument("--work", type=Path, help="keeps the Python; else nothing is kept")
    parser.add_argument("--rounds", type=int, default=2_000, help="of each race of `close`")
    parser.add_argument("--minutes", type=float, default=0.5, help="of the soak")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (given.work or Path(temporary)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        made = environment(work)
        free = {"cwd": TREE, "env": {**os.environ, "PYTHON_GIL": "0"}}
        run(made, "-P", "-m", "pytest", "-q", "--color=no", *given.tests, **free)
        programs = TREE / "tests/programs"
        run(made, programs / "close_races.py", "--rounds", given.rounds, **free)
        run(made, programs / "soak", "--minutes", given.minutes, **free)


if __name__ == "__main__":
    main()
