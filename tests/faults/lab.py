"""Filesystems that are full, thin or bad, and system calls that fail, on order.

Each lab is a context manager that mounts something at a directory and takes it away again,
or a function that builds a library to preload. What this machine cannot do skips the test,
or fails it where the environment says ``YAMMAP_FAULTS=all``: README.md tells what each
needs.
"""

import contextlib
import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

MIB = 1 << 20
HERE = Path(__file__).parent


def missing(reason):
    """Skip the test, or fail it where nothing may be missing."""
    if os.environ.get("YAMMAP_FAULTS") == "all":
        pytest.fail(f"YAMMAP_FAULTS=all, but {reason}")
    pytest.skip(reason)


def need(module):
    """Import a package that the test extras may lack."""
    try:
        return __import__(module)
    except ImportError as error:
        missing(str(error))


def run(*command):
    """Run a command that needs rights and tools; without them the lab is missing."""
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        missing(f"{command[0]} is not installed")
    if done.returncode:
        missing(f"{command[0]} failed: {done.stderr.strip()}")


def unmount(directory):
    subprocess.run(["umount", directory], check=True)


@contextlib.contextmanager
def mounted(directory, *arguments):
    directory.mkdir(parents=True, exist_ok=True)
    run("mount", *arguments, directory)
    try:
        yield directory
    finally:
        unmount(directory)


def tmpfs(directory, size):
    """A filesystem in memory, of `size` bytes."""
    return mounted(directory, "-t", "tmpfs", "-o", f"size={size}", "none")


def image_of(directory):
    """Where the image of the filesystem mounted at `directory` lies."""
    return directory.with_name(directory.name + ".img")


@contextlib.contextmanager
def loop(directory, size, *mkfs, options="loop"):
    """A filesystem in a file: the image lies beside the directory."""
    image = image_of(directory)
    directory.parent.mkdir(parents=True, exist_ok=True)
    image.touch()
    os.truncate(image, size)
    run(*mkfs, image)
    with mounted(directory, "-o", options, image):
        yield directory


def loop_ext4(directory, size=16 * MIB):
    return loop(directory, size, "mkfs.ext4", "-q", "-m", "0")


def loop_btrfs(directory, size=112 * MIB):
    """The smallest that mkfs makes. Overwriting takes new blocks, and so free space."""
    return loop(directory, size, "mkfs.btrfs", "-q")


@contextlib.contextmanager
def thin_ext4(directory, size=256 * MIB, real=8 * MIB):
    """An ext4 of `size` bytes on a disk that has only `real`, as thin provisioning gives.

    Allocating succeeds, and writing back fails once the disk is full: with ENOSPC, the
    next time with EIO, since the blocks cannot be marked written, and then no more. (With
    a journal, its abort makes all read-only instead.)
    """
    store = directory.with_name(directory.name + ".store")
    mkfs = ("mkfs.ext4", "-q", "-m", "0", "-O", "^has_journal", "-E", "nodiscard")
    with tmpfs(store, real), loop(store / "disk", size, *mkfs):
        directory.symlink_to(store / "disk")
        yield directory


@contextlib.contextmanager
def overlay(directory, **files):
    """An overlayfs whose lower layer has files of these bytes."""
    layers = directory.with_name(directory.name + ".layers")
    with tmpfs(layers, 16 * MIB):
        lower, upper, work = (layers / name for name in ("lower", "upper", "work"))
        for layer in (lower, upper, work):
            layer.mkdir()
        for name, data in files.items():
            (lower / name).write_bytes(data)
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        with mounted(directory, "-t", "overlay", "-o", options, "none"):
            yield directory


def snapshot(directory, to):
    """Copy what the disk under a mounted filesystem holds now, as if power were cut."""
    run("cp", "--sparse=always", image_of(directory), image_of(to))


@contextlib.contextmanager
def restarted(directory):
    """Mount a snapshot, so that the filesystem replays its journal."""
    with mounted(directory, "-o", "loop", image_of(directory)):
        yield directory


@contextlib.contextmanager
def huge_pages(count):
    """Let the kernel set aside that many huge pages."""
    setting = Path("/proc/sys/vm/nr_hugepages")
    before = setting.read_text()
    try:
        setting.write_text(f"{int(before) + count}")
    except OSError as error:
        missing(f"no huge pages: {error}")
    try:
        if int(setting.read_text()) < int(before) + count:
            missing("the kernel finds no memory for huge pages")
        yield
    finally:
        setting.write_text(before)


class Fuse:
    """A filesystem with one file, ``file``, some of whose pages have gone bad."""

    def __init__(self, directory):
        self.path = directory / "file"
        self.fails = directory.with_name(directory.name + ".fails")

    def fail(self, *failures):
        """Let these fail from now on, and nothing else: see fuse.py."""
        self.fails.write_text("\n".join(failures))


@contextlib.contextmanager
def fuse(directory, *failures, pages=4, content=None):
    """Serve a file of `pages` pages, A, B, C ..., where `failures` give EIO."""
    if content is None:
        content = b"".join(bytes([65 + i]) * mmap.PAGESIZE for i in range(pages))
    directory.with_name(directory.name + ".content").write_bytes(content)
    filesystem = Fuse(directory)
    filesystem.fail(*failures)
    directory.mkdir(exist_ok=True)
    command = [sys.executable, "-P", HERE / "fuse.py", directory]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as server:
        if server.stdout.readline() != "mounted\n":
            missing(f"no FUSE: {server.stderr.read().strip()}")
        try:
            yield filesystem
        finally:
            try:
                unmount(directory)
            except subprocess.CalledProcessError:
                server.kill()  # it serves until it is unmounted, and would be waited for
                raise
    assert server.returncode == 0, "the FUSE server died"


def preload(source, directory):
    """Compile C for LD_PRELOAD, and return the library."""
    library = directory / "preload.so"
    compiler = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", library, "-x", "c", "-"]
    try:
        subprocess.run(compiler, input=source, text=True, check=True)
    except FileNotFoundError:
        missing("gcc is not installed")
    return library


def failing(directory):
    """Compile the library whose ``fail`` makes yammap's system calls fail: failing.c."""
    return preload((HERE / "failing.c").read_text(), directory)


def trace(program, output):
    """Run a Python program, and have all its system calls written down."""
    run("strace", "-o", output, "true")
    command = ["strace", "-f", "-o", output, sys.executable, "-P", "-W", "error", program]
    subprocess.run(command, cwd=program.parent, check=True)
