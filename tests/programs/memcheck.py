"""Run tests that fault nothing under valgrind.

    python -P tests/programs/memcheck.py [FILE...]

Every error whose stack goes through yammap's compiled code counts, lost memory included;
those of the interpreter and of NumPy, which optimise more than valgrind can follow, do not.
Exits with 1 when there are any, or a test fails.
"""

import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

TESTS = Path(__file__).parents[1]
FILES = [
    "core/test_core.py",
    "extent/test_extent.py",
    "file/test_mmap_file.py",
    "file/test_ndarrays.py",
    "file/test_opening.py",
    "mapping/test_arguments.py",
    "mapping/test_growing.py",
    "mapping/test_opening.py",
    "mapping/test_paging.py",
    "mapping/test_positions.py",
    "mapping/test_writing.py",
    "memory/test_generations.py",
    "memory/test_memory.py",
    "memory/test_region.py",
    "memory/test_searching.py",
]
OURS = ("yammap/_core.", "yammap/_file/gather.")
HUGE = "not 8_tib and not reserve_larger_than"  # valgrind has less address space


def frames(error):
    for frame in error.iter("frame"):
        where = [frame.findtext(part, "") for part in ("obj", "fn", "file", "line")]
        yield where[0], ":".join(where[1:])


def errors_of_ours(log):
    for _, error in ET.iterparse(log):
        if error.tag == "error":
            if any(part in obj for obj, _ in frames(error) for part in OURS):
                yield error
            else:
                error.clear()


def show(error):
    print(error.findtext("what") or error.findtext("xwhat/text"))
    for obj, place in frames(error):
        print(f"    {place}  {Path(obj).name}")


def run(files, log):
    memcheck = ["valgrind", "--leak-check=full", "--errors-for-leak-kinds=definite"]
    memcheck += ["--show-leak-kinds=definite", "--num-callers=30", "--error-limit=no"]
    memcheck += ["--xml=yes", f"--xml-file={log}", "--child-silent-after-fork=yes"]
    python = [sys.executable, "-P", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    command = [*memcheck, *python, "-m", "not no_sanitizer", "-k", HUGE, *files]
    return subprocess.run(command, env={**os.environ, "PYTHONMALLOC": "malloc"}).returncode


def main():
    files = sys.argv[1:] or [TESTS / name for name in FILES]
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "memcheck.xml"
        status = run(files, log)
        errors = list(errors_of_ours(log))
    for error in errors:
        show(error)
    print(f"{len(errors)} errors in yammap's code")
    sys.exit(1 if errors or status else 0)


if __name__ == "__main__":
    main()
