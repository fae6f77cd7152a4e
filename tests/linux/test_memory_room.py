"""Which limit leaves too little memory, in control groups of both versions."""

import os

import pytest

from yammap._linux.memory_room import room_for_files, shortage

MIB = 1 << 20


@pytest.fixture
def kernel(tmp_path):
    """Write files of a made-up kernel; the machine has 8 GiB left, and no swap."""

    def write(name, text):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def ask(size):
        return shortage(size, proc=str(tmp_path / "proc"))

    write("proc/meminfo", f"MemAvailable:   {8 << 20} kB\nSwapFree:       0 kB\n")
    write("proc/self/cgroup", "3:cpu,memory:/a/b\n0::/c/d\n")
    mounts = [
        f"30 1 0:1 / {tmp_path}/v1 rw shared:5 - cgroup cgroup rw,memory",
        f"31 1 0:2 / {tmp_path}/cpu rw - cgroup cgroup rw,cpuset",
        f"32 1 0:3 / {tmp_path}/v2 rw - cgroup2 cgroup2 rw",
    ]
    write("proc/self/mountinfo", "\n".join([*mounts, ""]))
    ask.write, ask.root = write, tmp_path
    return ask


def v1(kernel, group, limit, usage, cached=0):
    kernel.write(f"v1/{group}/memory.limit_in_bytes", f"{limit}\n")
    kernel.write(f"v1/{group}/memory.usage_in_bytes", f"{usage}\n")
    kernel.write(f"v1/{group}/memory.stat", f"cache 7\ntotal_inactive_file {cached}\n")


def v2(kernel, group, limit, usage, cached=0):
    kernel.write(f"v2/{group}/memory.max", f"{limit}\n")
    kernel.write(f"v2/{group}/memory.current", f"{usage}\n")
    kernel.write(f"v2/{group}/memory.stat", f"anon 7\nactive_file {cached}\n")


def test_there_may_be_no_limit_but_the_machine(kernel):
    assert kernel(8 << 30) is None
    assert kernel((8 << 30) + 1) == f"the machine has {8 << 30} bytes of memory left"


@pytest.mark.parametrize(
    ("version", "file", "group"),
    [(v1, "v1/a/b/memory.limit_in_bytes", "a/b"), (v2, "v2/c/d/memory.max", "c/d")],
)
def test_a_group_may_leave_less(kernel, version, file, group):
    version(kernel, group, 64 * MIB, 40 * MIB, cached=8 * MIB)
    assert kernel(32 * MIB) is None
    text = f"{kernel.root}/{file} allows {64 * MIB} bytes, of which {32 * MIB} are left"
    assert kernel(32 * MIB + 1) == text


@pytest.mark.parametrize("group", ["a", "."])
def test_groups_above_count_as_well(kernel, group):
    v1(kernel, "a/b", 1 << 62, 40 * MIB)
    v1(kernel, group, 64 * MIB, 60 * MIB)
    assert str(64 * MIB) in kernel(5 * MIB)


def test_a_group_without_a_limit(kernel):
    v2(kernel, "c/d", "max", 40 * MIB)
    assert kernel(1 << 30) is None


def test_the_path_of_a_container_may_be_that_of_the_host(kernel):
    v2(kernel, ".", 64 * MIB, 60 * MIB)  # and no folder is called c
    assert "memory.max" in kernel(5 * MIB)


def test_more_may_be_used_than_the_limit_allows(kernel):
    v2(kernel, "c", 64 * MIB, 65 * MIB)
    assert "0 are left" in kernel(1)


def test_swap_counts(kernel):
    v2(kernel, "c", 64 * MIB, 60 * MIB)
    kernel.write("proc/meminfo", f"MemAvailable: 100000 kB\nSwapFree: {2 << 10} kB\n")
    assert kernel(6 * MIB) is None
    assert kernel(6 * MIB + 1) is not None


def test_a_system_that_tells_nothing_refuses_nothing(tmp_path):
    assert shortage(1 << 60, proc=str(tmp_path)) is None


@pytest.mark.skipif(not os.path.exists("/proc/meminfo"), reason="needs /proc")
def test_this_machine():
    assert shortage(4096) is None
    assert shortage(1 << 60) is not None


def test_files_have_room_for_what_the_narrowest_group_leaves(kernel):
    room = lambda: room_for_files(proc=str(kernel.root / "proc"))  # noqa: E731
    assert room() == 8 << 30
    v1(kernel, "a", 64 * MIB, 60 * MIB, cached=8 * MIB)
    v1(kernel, "a/b", 256 * MIB, 40 * MIB)
    assert room() == 12 * MIB
    v2(kernel, "c/d", 32 * MIB, 31 * MIB, cached=3 * MIB)
    assert room() == 4 * MIB


def room(kernel):
    return room_for_files(proc=str(kernel.root / "proc"))


def test_what_the_machine_does_not_say_is_no_limit(kernel):
    kernel.write("proc/meminfo", "MemTotal: 99 kB\n")
    assert room(kernel) == 1 << 62


def test_the_least_room_counts(kernel):
    v2(kernel, "c", 50 * MIB, 10 * MIB)
    v2(kernel, "c/d", 90 * MIB, 10 * MIB)
    assert room(kernel) == 40 * MIB
    v1(kernel, "a", 50 * MIB, 30 * MIB, cached=9 * MIB)
    assert room(kernel) == 29 * MIB
    kernel.write("proc/meminfo", f"MemAvailable: {7 << 10} kB\n")
    assert room(kernel) == 7 * MIB


def test_a_group_above_its_limit_has_no_room(kernel):
    v2(kernel, "c/d", 50 * MIB, 60 * MIB)
    assert room(kernel) == 0


@pytest.mark.parametrize("stat", ["", "anon 7\n"])
def test_a_kernel_that_does_not_count_files(kernel, stat):
    v2(kernel, "c/d", 50 * MIB, 45 * MIB, cached=7 * MIB)
    kernel.write("v2/c/d/memory.stat", stat)
    assert room(kernel) == 5 * MIB
