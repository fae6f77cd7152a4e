"""What a system allows, found by trying it: here, and where it is refused."""

import ctypes
import errno
import mmap
import os
import signal
import tempfile

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from yammap._cli import probes


def refuse():
    raise PermissionError(errno.EPERM, "text")


@pytest.mark.parametrize(
    ("attempt", "why"),
    [
        (lambda: None, None),
        (refuse, os.strerror(errno.EPERM)),
        (lambda: os.kill(os.getpid(), signal.SIGSYS), "the process is killed by SIGSYS"),
        (lambda: 1 / 0, os.strerror(255)),
    ],
)
def test_an_attempt_says_why_it_failed_and_harms_nobody(attempt, why, capfd):
    assert probes.refusal(attempt) == why


def test_what_a_machine_has_no_number_for_is_not_there(monkeypatch):
    monkeypatch.setattr(probes.platform, "machine", lambda: "pdp11")
    with pytest.raises(OSError, match="not implemented"):
        probes.io_setup()


@pytest.mark.parametrize("call", [probes.io_setup, probes.io_uring])
def test_queues_are_made_or_refused(call):
    codes = (errno.EPERM, errno.ENOSYS, errno.EAGAIN)
    assert probes.refusal(call) in (None, *map(os.strerror, codes))


def test_a_scratch_file_has_a_page_and_goes(tmp_path):
    with probes.scratch_file(str(tmp_path)) as (fd, unnamed):
        assert os.fstat(fd).st_size == mmap.PAGESIZE
        assert unnamed == (os.fstat(fd).st_nlink == 0)
        probes.fallocate(fd)
    assert os.listdir(tmp_path) == []


def test_a_scratch_file_without_o_tmpfile(tmp_path, monkeypatch):
    def refuse_folders(path, *arguments, **options):
        raise OSError(errno.EOPNOTSUPP, "text")

    real = os.open
    monkeypatch.setattr(
        probes.os,
        "open",
        lambda path, flags, *rest, **options: (
            refuse_folders(path)
            if flags & os.O_TMPFILE == os.O_TMPFILE
            else real(path, flags, *rest, **options)
        ),
    )
    with probes.scratch_file(str(tmp_path)) as (fd, unnamed):
        assert not unnamed
        assert os.fstat(fd).st_size == mmap.PAGESIZE
    assert os.listdir(tmp_path) == []


def test_alignment_is_that_of_the_kernel_or_unknown(tmp_path):
    with probes.scratch_file(str(tmp_path)) as (fd, _):
        found = probes.direct_alignment(fd)
        assert found is None or len(found) == 2
    assert probes.direct_alignment(-1) is None


def test_without_statx_the_alignment_is_unknown(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: object())
    assert probes.direct_alignment(0) is None


def test_readahead_is_that_of_the_device(tmp_path):
    with tempfile.TemporaryFile(dir=tmp_path) as file:
        found = probes.readahead(file.fileno())
    if found:
        setting, kib = found
        assert probes.number_in(setting) == kib


def test_numbers_in_files(tmp_path):
    (tmp_path / "n").write_text("42\n")
    (tmp_path / "max").write_text("max\n")
    assert probes.number_in(tmp_path / "n") == 42
    assert probes.number_in(tmp_path / "max") is None
    assert probes.number_in(tmp_path / "missing") is None


V1 = "9:name=systemd:/\n4:cpu,memory:/job/task\n"
V2 = "0::/job/task\n"


@pytest.mark.parametrize(
    ("memberships", "files", "found"),
    [
        (V2, {"job/memory.max": 1 << 30, "job/memory.current": 5}, (1 << 30, 5)),
        (
            V2,
            {"job/memory.max": 1 << 30, "job/task/memory.max": 1 << 20},
            (1 << 20, None),
        ),
        (V2, {"job/task/memory.max": "max"}, None),
        (
            V1,
            {"memory/job/task/memory.limit_in_bytes": (1 << 63) - 4096,
             "memory/memory.limit_in_bytes": 7},
            (7, None),
        ),
        (V1, {}, None),
    ],
)  # fmt: skip
def test_the_lowest_limit_of_the_cgroups_above(tmp_path, memberships, files, found):
    (tmp_path / "self").mkdir()
    (tmp_path / "self/cgroup").write_text(memberships)
    (tmp_path / "self/mountinfo").write_text(
        f"30 1 0:1 / {tmp_path}/root rw - cgroup2 cgroup2 rw\n"
        f"31 1 0:2 / {tmp_path}/root/memory rw - cgroup cgroup rw,memory\n"
    )
    for name, content in files.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    assert probes.cgroup_memory(str(tmp_path)) == found
    assert probes.cgroup_memory(str(tmp_path / "none")) is None
