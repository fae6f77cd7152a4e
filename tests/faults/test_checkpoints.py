"""The guide's ways to load a checkpoint, from a bad filesystem: the process lives."""

import signal

import lab
import numpy as np
import pytest
from documents import ROOT, examples

pytestmark = pytest.mark.no_sanitizer

SETUP = """
import time

import safetensors.torch
import torch


def fail(*failures):
    with open("bad.fails", "w") as file:
        file.write("\\n".join(failures))


def tries(*steps):
    "What happens before each try but the first, in place of the guide's pause."
    left = iter(steps)
    time.sleep = lambda pause: next(left)()


def right(tensors):
    return tensors.keys() == LAYERS.keys() and all(
        torch.equal(tensors[name], LAYERS[name]) for name in LAYERS
    )


def in_place():
    with yammap.open("bad/file", "c") as m:
        start, header = read_header(m)
        data = torch.frombuffer(m, dtype=torch.uint8, offset=start)
        with m.guard():
            tensors = tensors_in(data, header)
            return {name: tensors[name].clone() for name in tensors}


LAYERS = {name: torch.from_numpy(array) for name, array in made().items()}
"""

MADE = """
def made():
    return {"a": np.arange(40_000, dtype="f4").reshape(200, 200), "b": np.ones(20_000)}
"""


@pytest.fixture
def checkpoint(tmp_path):
    """A filesystem whose file is a checkpoint of 79 pages, which no cache holds."""
    lab.need("torch")
    safetensors = lab.need("safetensors.numpy")
    names = {"np": np}
    exec(MADE, names)
    content = safetensors.numpy.save(names["made"]())
    with lab.fuse(tmp_path / "bad", content=content) as filesystem:
        yield filesystem


@pytest.fixture
def loading(faulty, checkpoint):
    """Run source with the functions of the guide, in blocks of eight pages."""
    guide, *_ = examples(ROOT / "docs/howto/checkpoints.md")

    def run(source, status=0):
        faulty(guide.source + MADE + SETUP + "BLOCK = 8 * PAGE\n" + source, status)

    return run


def test_a_checkpoint_is_loaded(loading):
    loading("assert right(load_checkpoint('bad/file')) and right(in_place())")


def test_a_page_that_can_be_read_again(loading):
    """Reading goes on with the block that failed."""
    loading("""
fail("read 30")
def elsewhere():
    with open("bad/file", "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    fail("read 2", "read 50")


tries(elsewhere, lambda: fail("read 2"))
assert right(load_checkpoint("bad/file", tries=3))
""")


def test_a_page_that_stays_bad(loading):
    loading("""
fail("read 30")
tries(int)
error = bus_error(load_checkpoint, "bad/file", tries=2)
assert error.errno == errno.EIO and error.offset // PAGE == 30, error
assert bus_error(in_place).errno == errno.EIO
fail()
assert right(load_checkpoint("bad/file"))
""")


def test_a_server_that_goes_away(loading, checkpoint):
    loading("""
fail("leave 30")
tries(int)
error = raised(OSError, load_checkpoint, "bad/file", tries=2)
assert error.errno == errno.ENOTCONN, error
""")


def test_a_server_that_goes_away_from_what_is_in_place(loading):
    loading("""
fail("leave 30")
bus_error(in_place)
""")


def test_a_file_that_is_cut(loading):
    loading("""
fail("read 30")
tries(lambda: (os.truncate("bad/file", 20 * PAGE), fail()))
raised(yammap.ShortRead, load_checkpoint, "bad/file")
""")


def test_a_file_that_is_cut_under_what_is_in_place(loading):
    loading("""
with yammap.open("bad/file", "c") as m:
    start, header = read_header(m)
    data = torch.frombuffer(m, dtype=torch.uint8, offset=start)
    tensors = tensors_in(data, header)
    os.truncate("bad/file", 20 * PAGE)

    def summed():
        with m.guard():
            tensors["a"].sum()

    error = bus_error(summed)
    assert error.errno == errno.EFAULT and error.offset >= 20 * PAGE
    os._exit(0)  # without a word of closing
""")


def test_two_checkpoints_are_not_mixed(loading):
    loading("""
def replace():
    fail()
    LAYERS["a"] += 1
    LAYERS["c"] = torch.zeros(5)
    with open("bad/file", "r+b") as file:
        file.write(safetensors.torch.save(LAYERS))

fail("read 30")
tries(replace)
assert right(load_checkpoint("bad/file"))
""")


def test_the_library_itself_dies(loading):
    loading(
        """
fail("read 30")
print(safetensors.torch.load_file("bad/file")["b"].sum())
""",
        status=-signal.SIGBUS,
    )
