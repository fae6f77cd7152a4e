"""Run tests on musl, with a Python that is built for it here.

    python tests/elsewhere/musl.py                      # those of TESTS
    python tests/elsewhere/musl.py tests/arrays

As root on Debian, with musl-tools, autoconf, automake, libtool, libltdl-dev, and a Python
3.13 for which it builds the wheel. Python, libffi and zlib are of Debian's sources, and
NumPy is of its wheel for musl.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cross
import guest
import wheels

TESTS = [
    "tests/core/test_core.py",
    "tests/core/test_hostile.py",
    "tests/core/test_threads.py",
    "tests/extent",
    "tests/file/test_gather.py",
    "tests/file/test_records.py",
    "tests/linux",
    "tests/mapping",
    "tests/memory",
]

TARGET = "musllinux_1_2_x86_64"
SUITE = "trixie"  # has Python 3.13, and a musl that loads what NumPy's wheel brings

# musl-gcc looks for no header of the kernel, and its gcc tells the triplet of glibc.
BUILD = """
mkdir kernel
ln -s /usr/include/linux /usr/include/asm-generic /usr/include/x86_64-linux-gnu/asm kernel
export CC=musl-gcc CFLAGS="-fPIC -O1 -isystem $PWD/kernel" ours="$PWD/prefix"
(cd zlib-* && ./configure --static --prefix="$ours" && make install)
(cd libffi-* && autoreconf -fi &&
    ./configure --disable-shared --disable-docs --disable-multi-os-directory \\
        --prefix="$ours" && make install)
cd Python-*
sed -i 's/$CC --print-multiarch/true/' configure
export PKG_CONFIG=no ZLIB_CFLAGS=-I$ours/include ZLIB_LIBS="-L$ours/lib -lz"
export LIBFFI_CFLAGS=-I$ours/include LIBFFI_LIBS="-L$ours/lib -lffi"
./configure --without-ensurepip --disable-test-modules
make -j2
"""


def fetch(place: Path) -> None:
    """Unpack the sources, and the suite's musl."""
    lists = place / "lists"
    (lists / "partial").mkdir(parents=True)
    apt = guest.sources_of(SUITE, "amd64", lists, ("deb", "deb-src"))
    guest.run("apt-get", *apt, "-qq", "update")
    names = ["python3.13", "libffi", "zlib"]
    guest.run("apt-get", *apt, "-qq", "source", "--tar-only", *names, cwd=place)
    guest.run("apt-get", *apt, "-qq", "download", "musl", cwd=place)
    for archive in place.glob("*.orig.tar.?z"):
        guest.run("tar", "-xf", archive, cwd=place)
    (package,) = place.glob("musl_*.deb")
    guest.run("dpkg-deb", "-x", package, place / "musl")


def made_python(place: Path, tools: Path) -> Path:
    """Build Python, which stays where it was built, and let that musl load it."""
    with (place / "log").open("w") as log:
        built = subprocess.run(["bash", "-ec", BUILD], cwd=place, stdout=log, stderr=log)
    if built.returncode:
        raise SystemExit(f"{(place / 'log').read_text()}\nno Python")
    (python,) = place.glob("Python-*/python")
    (musl,) = place.glob("musl/**/libc.so")
    guest.run(tools / "bin/patchelf", "--set-interpreter", musl, python)
    return python


def install(site: Path, work: Path, tools: Path) -> None:
    """Build this tree's wheel, and install it with NumPy and the test tools."""
    builder = wheels.pythons()["3.13"]
    wheel = cross.wheel(guest.TREE, builder, TARGET, tools, work / "build", work)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", site]
    pip += ["--python-version=3.13", "--only-binary=:all:", f"--platform={TARGET}"]
    guest.run(*pip, "numpy", "pytest>=9", "hypothesis", "click", "rich")
    guest.run(*pip, "--no-deps", wheel)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="*", default=TESTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        tools, site, sources = (work / name for name in ("tools", "site", "sources"))
        cross.install_tools(tools)
        fetch(sources)
        python = made_python(sources, tools)
        install(site, work, tools)
        pytest = [python, "-P", "-m", "pytest", "-q", *given.tests]
        environment = {**os.environ, "PYTHONPATH": str(site)}
        sys.exit(subprocess.run(pytest, cwd=guest.TREE, env=environment).returncode)


if __name__ == "__main__":
    main()
