"""What the doctor finds, and what it says where something is missing."""

import errno
import json
import os
import resource
import subprocess

import pytest

import yammap

pytest.importorskip("click")
pytest.importorskip("rich")

from yammap._cli import doctor

NAMES = [
    "filesystem",
    "mapping",
    "O_DIRECT",
    "cachestat(2)",
    "fallocate(2)",
    "O_TMPFILE",
    "user.* attributes",
    "readahead",
    "memfd_create(2)",
    "AIO: io_setup(2)",
    "io_uring_setup(2)",
    "/proc",
    "huge pages",
    "RLIMIT_AS",
    "RLIMIT_MEMLOCK",
    "RLIMIT_FSIZE",
    "RLIMIT_NOFILE",
    "vm.max_map_count",
    "memory",
    "cgroup memory",
]


def by_name(path):
    return {finding.name: finding for finding in doctor.examine(str(path))}


def test_a_directory_is_examined_and_left_as_it_was(tmp_path):
    found = by_name(tmp_path)
    assert sorted(found) == sorted(NAMES)
    assert found["mapping"].state == "ok"
    assert os.listdir(tmp_path) == []


def test_a_file_is_only_read(written):
    before = written.stat()
    found = by_name(written)
    assert sorted(found) == sorted(NAMES)
    after = written.stat()
    assert (after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_mtime_ns,
        before.st_ctime_ns,
    )
    assert os.listdir(written.parent) == [written.name]


def test_the_json_has_all_that_is_printed(tmp_path, run):
    status, out, err = run("doctor", "--json", tmp_path)
    assert (status, err) == (0, "")
    report = json.loads(out)
    assert report["system"]["yammap"] == yammap.__version__
    assert report["path"] == str(tmp_path)
    assert sorted(finding["name"] for finding in report["findings"]) == sorted(NAMES)
    assert all(finding["state"] in doctor.STATES for finding in report["findings"])


def test_what_does_not_exist_is_named(tmp_path, run):
    status, out, err = run("doctor", tmp_path / "missing")
    assert (status, out) == (1, "")
    assert err == f"yammap: {tmp_path}/missing: No such file or directory\n"


def test_what_is_refused_says_what_is_done_instead(tmp_path, monkeypatch, run):
    def refuse(*_):
        raise OSError(errno.ENOSYS, "text")

    for name in ("cachestat", "io_setup", "io_uring", "fallocate", "read_directly"):
        monkeypatch.setattr(doctor.probes, name, refuse)
    found = by_name(tmp_path)
    why = os.strerror(errno.ENOSYS)
    assert (found["cachestat(2)"].state, found["cachestat(2)"].found) == ("missing", why)
    assert "growing writes zeros" in found["fallocate(2)"].so
    assert "believes the kernel" in found["O_DIRECT"].so
    status, out, _ = run("doctor", "--fix", tmp_path)
    assert status == 0
    assert "no fallocate(2): Function not implemented" in out
    assert "fix: Linux 6.5 has it; a sandbox must allow the call" in out


def test_a_directory_that_cannot_be_written_is_no_failure(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(doctor.probes, "scratch_file", refuse)
    found = by_name(tmp_path)["writing"]
    assert found.state == "unknown"
    assert found.found == f"no file can be made in {tmp_path}: Permission denied"


def test_a_device_that_reads_far_around_a_page(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.probes, "readahead", lambda fd: ("/sys/setting", 8192))
    found = by_name(tmp_path)["readahead"]
    assert found.state == "limited"
    assert found.fix == "echo 128 | sudo tee /sys/setting"
    monkeypatch.setattr(doctor.probes, "readahead", lambda fd: None)
    assert by_name(tmp_path)["readahead"].state == "unknown"


def test_limits_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.resource, "getrlimit", lambda name: (1 << 20, 1 << 20))
    monkeypatch.setattr(doctor.probes, "cgroup_memory", lambda: (1 << 30, 1 << 29))
    found = by_name(tmp_path)
    assert found["RLIMIT_AS"].found == "1.0 MiB of address space"
    assert found["cgroup memory"].found == "1.0 GiB at most, 512.0 MiB used"
    monkeypatch.setattr(
        doctor.resource, "getrlimit", lambda name: (resource.RLIM_INFINITY,) * 2
    )
    assert by_name(tmp_path)["RLIMIT_AS"].state == "ok"


def test_a_system_that_tells_nothing_is_no_failure(tmp_path, monkeypatch, run):
    monkeypatch.setattr(doctor, "filesystem", lambda fd: None)
    monkeypatch.setattr(doctor, "_available", lambda: None)
    monkeypatch.setattr(doctor, "number_in", lambda path: None)
    monkeypatch.setattr(doctor, "_HUGE_PAGES", "/nowhere")
    found = by_name(tmp_path)
    for name in ("filesystem", "memory", "vm.max_map_count", "huge pages"):
        assert found[name].state == "unknown"
    assert run("doctor", tmp_path)[0] == 0


def test_it_works_in_a_sandbox_without_proc_and_sys(tmp_path, python):
    script = 'umount -l /sys && umount -l /proc; exec "$@"'
    command = ["unshare", "-m", "sh", "-c", script, "sh"]
    argv = [*command, python.executable, "-P", "-m", "yammap", "doctor", str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
    if "unshare" in done.stderr or "umount" in done.stderr:
        pytest.skip(done.stderr)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no /proc: is not mounted" in done.stdout
