"""Run tests on ARM, whose programs qemu runs on this machine's kernel.

    python tests/elsewhere/emulated.py                  # those of TESTS
    python tests/elsewhere/emulated.py tests/file/test_gather.py

As root on Debian 12, with debootstrap, qemu-user-static and Python 3.11, for which it
builds the wheel. That is faster than guest.py, which emulates a kernel as well. So pages,
files and bus errors are those of this machine, and what qemu does not pass on is missing.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import cross
import guest
import wheels

# Bytes in and out, growth, appending, records and faults in copies and views.
TESTS = [
    "tests/mapping/test_growing.py",
    "tests/mapping/test_running_ahead.py",
    "tests/mapping/test_writing.py",
    "tests/memory/test_copying.py",
    "tests/memory/test_reports.py",
    "tests/file/test_records.py",
]

# The first needs more addresses than qemu has for a program. For the second the kernel has
# to tell whether a bus error was a load or a store, as Linux does on ARM, and not qemu 7.2.
LEFT_OUT = "test_a_sparse_file_of_8_tib or test_the_faults_are_told_until_they_are_healed"

# Python on ARM, as a program of this machine. Tests start their processes by
# sys.executable, which is argv[0]. What is in the root is opened there, and all else here.
PYTHON = """#!/bin/sh
export PYTHONHOME=/usr PYTHONPATH={root}/site
exec qemu-aarch64-static -L {root} -0 "$0" {root}/usr/bin/python3.11 "$@"
"""


def made_wheel(work: Path) -> Path:
    """Build this tree's wheel for Python 3.11 on ARM."""
    cross.install_tools(work / "tools")
    python, target = wheels.pythons()["3.11"], "manylinux_2_17_aarch64"
    return cross.wheel(guest.TREE, python, target, work / "tools", work / "build", work)


def made_python(work: Path, numpy: str) -> Path:
    """Return a Python on ARM with the wheel, NumPy and the test tools."""
    whole = guest.unpacked_root(work, "arm64")
    guest.install(whole, "arm64", made_wheel(work), numpy)
    root = work / "root"  # without /dev, /tmp and so on, which are to be this machine's
    root.mkdir()
    for name in "lib", "usr", "site":
        (whole / name).rename(root / name)
    python = work / "python3"
    python.write_text(PYTHON.format(root=root))
    python.chmod(0o755)
    return python


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="*", default=TESTS)
    parser.add_argument(
        "--numpy", default="==1.24.*", help="which NumPy; the oldest promised"
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        python = made_python(Path(temporary), given.numpy)
        shown = "import os, sys, numpy; print(*os.uname(), sys.version, numpy.__version__)"
        subprocess.run([python, "-c", shown], check=True)
        pytest = [
            python,
            "-P",
            "-m",
            "pytest",
            "-q",
            "-k",
            f"not ({LEFT_OUT})",
            *given.tests,
        ]
        sys.exit(subprocess.run(pytest, cwd=guest.TREE).returncode)


if __name__ == "__main__":
    main()
