"""The tests of other programs, with a mapping for their files or `compat` for their mmap.

None of them is here: those of CPython come with it, those of programs with what is
installed of them or with their sdists.
"""

import json
import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture
def run(tmp_path):
    """Run Python in a process of its own with `stand_in`, and return what that reports."""

    def run(*arguments, cwd=tmp_path, **environment):
        report = tmp_path / "report.json"
        paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment |= {"REPORT": str(report), "PYTHONPATH": os.pathsep.join(paths)}
        done = subprocess.run(
            [sys.executable, "-P", *arguments],
            cwd=cwd,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=280,
        )
        assert report.exists(), done.stdout
        return json.loads(report.read_text()), done.stdout

    return run


# -- mmap

# The sdist, if the tests are not installed; what to run; the least number that passes.
PROGRAMS = {
    "smmap": (None, ["--pyargs", "smmap"], 9),
    "maxminddb": ("maxminddb", ["tests"], 380),
    "prometheus_client": ("prometheus_client", ["tests/test_multiprocess.py"], 30),
    "whoosh": ("whoosh-reloaded", ["tests"], 580),
    "dulwich": ("dulwich", ["tests/test_pack.py", "tests/test_midx.py"], 100),
    "scipy.io": (None, ["--pyargs", "scipy.io.tests.test_netcdf"], 20),
    "numpy.memmap": (None, ["--pyargs", "numpy._core.tests.test_memmap"], 20),
    "astropy.io.fits": (None, ["--pyargs", "astropy.io.fits"], 1600),
}
MARKS = "not slow and not hugemem and not remote_data"


@pytest.fixture(scope="session")
def sdist(tmp_path_factory):
    """Return where the sdist is unpacked of the version that is installed."""
    folder = tmp_path_factory.mktemp("sdists")

    def sdist(name):
        pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
        what = ["--no-binary", ":all:", f"{name}=={version(name)}"]
        subprocess.run([*pip, *what, "--dest", folder / name], check=True)
        (archive,) = (folder / name).iterdir()
        with tarfile.open(archive) as file:
            file.extractall(folder / name, filter="data")
        (unpacked,) = (path for path in (folder / name).iterdir() if path.is_dir())
        return unpacked

    return sdist


@pytest.mark.parametrize(("name", "tests", "least"), PROGRAMS.values(), ids=PROGRAMS)
def test_programs_with_compat_for_mmap(run, sdist, tmp_path, name, tests, least):
    """What fails must fail with `mmap` as well, for want of a network or a locale."""
    options = ["-m", "pytest", "-q", "-p", "stand_in", "-p", "no:cacheprovider"]
    options += ["-W", "ignore", "-m", MARKS]
    cwd = sdist(name) if name else tmp_path
    ours, output = run(*options, *tests, cwd=cwd)
    assert ours["passed"] >= least
    assert ours["mapped"] > 0
    if ours["failed"]:
        theirs, _ = run(*options, *ours["failed"], cwd=cwd, STAND_IN="mmap")
        assert set(ours["failed"]) <= set(theirs["failed"]), output


# -- Files

# Why a test fails with a mapping for the file.
NO_SYNC = "closing does not flush: a mapping's flush waits for the disk"
NO_WARNING = "no ResourceWarning: arrays keep a mapping that nobody closes"
OTHER_REPR = "the repr tells the size"
ONCE = "a mapping is initialised once"

FAILING = {
    "test_fileio": {
        "CAutoFileTests.testBlksize": "no _blksize, which is private",
        "CAutoFileTests.testRepr": OTHER_REPR,
        "CAutoFileTests.testReprNoCloseFD": OTHER_REPR,
        "COtherFileTests.testUnclosedFDOnException": "the name is not set by __setattr__",
    },
    "test_io": {
        "CIOTest.test_destructor": NO_SYNC,
        "CIOTest.test_flush_error_on_close": NO_SYNC,
        "CIOTest.test_garbage_collection": NO_WARNING,
        "CBufferedReaderTest.test_garbage_collection": NO_WARNING,
        "CBufferedWriterTest.test_garbage_collection": NO_WARNING,
        "CBufferedRandomTest.test_garbage_collection": NO_WARNING,
        "CIOTest.test_fileio_closefd": ONCE,
    },
    "test_mailbox": {},
    "test_tempfile": {},
}
if sys.version_info >= (3, 12):
    FAILING["test_io"]["CTextIOWrapperTest.test_garbage_collection"] = NO_WARNING
if sys.version_info >= (3, 13):
    FAILING["test_fileio"]["COtherFileTests.testBooleanFd"] = "it is warned of elsewhere"
LEAST = {"test_fileio": 40, "test_io": 300, "test_mailbox": 350, "test_tempfile": 90}


@pytest.mark.skipif(find_spec("test.test_io") is None, reason="Python without its tests")
@pytest.mark.parametrize("module", FAILING)
def test_cpythons_tests_with_mappings_for_files(run, module):
    done, output = run(HERE / "stand_in.py", module)
    assert set(done["failed"]) == set(FAILING[module]), output
    assert done["passed"] >= LEAST[module]
