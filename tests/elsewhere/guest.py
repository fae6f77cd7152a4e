"""Run tests under another kernel, in a machine that qemu emulates, or as a program.

    python tests/elsewhere/guest.py amd64 bullseye WHEEL          # Linux 5.10
    python tests/elsewhere/guest.py amd64 bookworm WHEEL          # Linux 6.1
    python tests/elsewhere/guest.py amd64 trixie WHEEL            # Linux 6.12
    python tests/elsewhere/guest.py arm64-16k trixie WHEEL        # pages of 16 KiB
    python tests/elsewhere/guest.py amd64 trixie WHEEL --filesystem exfat
    python tests/elsewhere/guest.py uml bookworm WHEEL --filesystem nfs

WHEEL is for CPython 3.11. As root on Debian, with debootstrap, cpio, qemu-system-x86 and
qemu-system-arm. `uml` is user-mode Linux, which needs no emulation, and has one CPU and
fewer filesystems. Tests are named after the wheel; without names, those of TESTS run. Their
files are on an ext4, or on another of FILESYSTEMS. What it makes goes to --work, by default
a temporary directory; a root that is there is used again.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]

# What a kernel or a filesystem can change: pages, growth, appends, syncing, and reads.
TESTS = [
    "tests/extent",
    "tests/mapping/test_growing.py",
    "tests/mapping/test_opening.py",
    "tests/mapping/test_paging.py",
    "tests/mapping/test_running_ahead.py",
    "tests/mapping/test_syncing.py",
    "tests/mapping/test_writing.py",
    "tests/memory/test_copying.py",
    "tests/memory/test_pages.py",
    "tests/memory/test_reports.py",
    "tests/file/test_atomic.py",
    "tests/file/test_opening.py",
    "tests/file/test_pages.py",
    "tests/file/test_queue.py",
    "tests/file/test_records.py",
]

PACKAGES = ["python3", "kmod", "iproute2"]
MODULES = ["fs", "lib", "crypto", "drivers/block", "drivers/virtio", "net/9p", "net/sunrpc"]
MODULES += ["net/dns_resolver", "arch"]

LOOP = """
truncate -s 1400M /tmp/disk.image
{mkfs} /tmp/disk.image
mount -o loop -t {kind} /tmp/disk.image {place}
"""

# A server in the guest, for the guest. It exports an ext4.
NFS = (
    LOOP.format(kind="ext4", mkfs="mkfs.ext4 -q -F", place="/export")
    + """
mkdir -p /var/lib/nfs/sm /var/lib/nfs/v4recovery /run/rpcbind
mount -t nfsd nfsd /proc/fs/nfsd
exportfs -i -o rw,no_root_squash,fsid=0 127.0.0.1:/export
rpc.mountd --no-nfs-version 2 --no-nfs-version 3
rpc.nfsd --no-nfs-version 3 8
mount -t nfs4 127.0.0.1:/ /disk
"""
)

SHARED = (
    "mount -t 9p -o trans=virtio,version=9p2000.L,cache={cache},msize=262144 host /disk"
)


def on_loop(kind: str, mkfs: str) -> str:
    return LOOP.format(kind=kind, mkfs=mkfs, place="/disk")


# A filesystem, the packages that it needs, and what mounts it at /disk.
FILESYSTEMS = {
    "ext4": (["e2fsprogs"], on_loop("ext4", "mkfs.ext4 -q -F")),
    "ext2": (["e2fsprogs"], on_loop("ext2", "mkfs.ext2 -q -F")),
    "xfs": (["xfsprogs"], on_loop("xfs", "mkfs.xfs -q")),
    "btrfs": (["btrfs-progs"], on_loop("btrfs", "mkfs.btrfs -q")),
    "f2fs": (["f2fs-tools"], on_loop("f2fs", "mkfs.f2fs -q")),
    "vfat": (["dosfstools"], on_loop("vfat", "mkfs.vfat")),
    "exfat": (["exfatprogs"], on_loop("exfat", "mkfs.exfat")),
    "ntfs3": (["ntfs-3g"], on_loop("ntfs3", "mkntfs -q -F -f")),
    "nfs": (["e2fsprogs", "nfs-kernel-server"], NFS),
    "9p": ([], SHARED.format(cache="mmap")),
    "9p-uncached": ([], SHARED.format(cache="none")),
}

QEMU = {
    "amd64": ["qemu-system-x86_64", "-cpu", "max"],
    "arm64": ["qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth=off"],
}
CONSOLE = {"amd64": "ttyS0", "arm64": "ttyAMA0"}
WHEELS = {"amd64": "x86_64", "arm64": "aarch64"}

# The first process of the guest: a filesystem, the tests on it, and the end.
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONPATH=/site
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/shm /tmp /disk /export
mount -t tmpfs shm /dev/shm; mount -t tmpfs -o size=2G tmp /tmp
ln -sf /proc/self/fd /dev/fd
ip link set lo up
depmod -a
for module in loop ext4 virtio_pci 9pnet_virtio nfsd; do modprobe -q $module; done
(
set -e
{disk}
cd /tree
echo "guest: Linux $(uname -r) $(uname -m), pages of $(getconf PAGESIZE) bytes"
grep ' /disk ' /proc/mounts
python3 -P -m pytest -q --color=no --tb=short --maxfail=40 -p no:cacheprovider \\
    --basetemp=/disk/tests -o tmp_path_retention_policy=failed {tests}
)
echo "guest: exit code $?"
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


def run(*command: str, **options: object) -> None:
    subprocess.run([*map(str, command)], check=True, **options)


def unpacked_root(work: Path, arch: str, more: Sequence[str] = ()) -> Path:
    """Return a directory with Debian 12, whose packages are unpacked and not set up."""
    root = work / "-".join(["root", arch, *more])
    if not root.exists():
        unfinished = work / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        run("debootstrap", "--foreign", f"--arch={arch}", "--variant=minbase",
            f"--include={','.join([*PACKAGES, *more])}", "bookworm", unfinished,
            stdout=subprocess.DEVNULL)  # fmt: skip
        for package in (unfinished / "var/cache/apt/archives").glob("*.deb"):
            run("dpkg-deb", "-x", package, unfinished)
            package.unlink()
        (unfinished / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
        unfinished.rename(root)
    return root


def install(root: Path, arch: str, wheel: Path, numpy: str) -> None:
    """Install the wheel, NumPy and the test tools for the root's Python 3.11."""
    machine = WHEELS[arch]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", root / "site"]
    pip += ["--python-version=3.11", "--only-binary=:all:"]
    pip += [f"--platform=manylinux_2_{minor}_{machine}" for minor in (17, 27, 28)]
    pip += [f"--platform=linux_{machine}"]
    shutil.rmtree(root / "site", ignore_errors=True)
    run(*pip, f"numpy{numpy}", "pytest>=9", "hypothesis", "click", "rich")
    run(*pip, "--no-deps", wheel)


def arch_of(flavour: str) -> str:
    return "amd64" if flavour == "uml" else flavour.partition("-")[0]


def kernel(work: Path, flavour: str, suite: str) -> Path:
    """Return a directory with the suite's kernel of that flavour and its modules."""
    place = work / f"kernel-{suite}-{flavour}"
    if not place.exists():
        lists = work / f"lists-{suite}-{flavour}"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        apt = sources_of(suite, arch_of(flavour), lists)
        run("apt-get", *apt, "-qq", "update")
        names = ["user-mode-linux"] if flavour == "uml" else packages_of(flavour, apt)
        run("apt-get", *apt, "-qq", "download", *names, cwd=lists)
        for package in lists.glob("*.deb"):
            run("dpkg-deb", "-x", package, place)
            package.unlink()
    return place


def packages_of(flavour: str, apt: list[str]) -> list[str]:
    """Return the packages that have the kernel: up to Linux 6 one, and three since."""

    def needed(package: str, *kinds: str) -> list[str]:
        depends = ["apt-cache", *apt, "depends", package]
        words = subprocess.check_output(depends, text=True).split()
        return [word for word in words if word.startswith(kinds)]

    newest = needed(f"linux-image-{flavour}", "linux-image-")[-1]
    return [newest, *needed(newest, "linux-binary-", "linux-modules-")]


def sources_of(
    suite: str, arch: str, lists: Path, kinds: Sequence[str] = ("deb",)
) -> list[str]:
    """Return options by which apt sees one suite for one architecture: its `kinds`."""
    targets = ["apt-get", "indextargets", "--format", "$(SITE)", "Label: Debian"]
    site = subprocess.check_output(targets, text=True).split()[0]
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    sources = lists.with_suffix(".list")  # apt cleans the directory of the lists
    place = f"[arch={arch} signed-by={keys}] {site} {suite} main"
    sources.write_text("".join(f"{kind} {place}\n" for kind in kinds))
    options = {
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State::Lists": lists,
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "APT::Architecture": arch,
        "APT::Architectures": arch,
        "APT::Sandbox::User": "root",
    }
    return [f"-o{name}={value}" for name, value in options.items()]


def image(root: Path, kernel: Path, work: Path, disk: str, tests: list[str]) -> Path:
    """Return an initial filesystem with the root, the kernel's modules and the tests."""
    (modules,) = kernel.glob("**/lib/**/modules/*")
    shutil.rmtree(root / "lib/modules", ignore_errors=True)
    target = root / "lib/modules" / modules.name
    for name in MODULES:
        if (modules / "kernel" / name).exists():
            shutil.copytree(modules / "kernel" / name, target / "kernel" / name)
    for table in modules.glob("modules.*"):
        shutil.copy(table, target)
    shutil.rmtree(root / "tree", ignore_errors=True)
    shutil.copytree(TREE / "tests", root / "tree/tests")
    shutil.copy(TREE / "pyproject.toml", root / "tree")
    (root / "init").write_text(INIT.format(disk=disk, tests=" ".join(tests)))
    (root / "init").chmod(0o755)
    made = work / "image"
    pack = "find . -path ./usr/share/doc -prune -o -print | cpio -o -H newc --quiet"
    with made.open("wb") as packed:
        run("sh", "-c", pack, cwd=root, stdout=packed)
    return made


def machine(arch: str, kernel: Path, image: Path, shared: Path) -> list[str]:
    """Return the command that starts the guest."""
    program = kernel / "usr/bin/linux.uml"
    if program.exists():
        return [
            str(program), "mem=4G", f"initrd={image}", "con=null", "con0=null,fd:1",
            "quiet", "panic=-1",
        ]  # fmt: skip
    (binary,) = kernel.glob("**/vmlinuz*")
    return [
        *QEMU[arch], "-m", "4G", "-smp", "2", "-nographic", "-no-reboot",
        "-virtfs", f"local,path={shared},mount_tag=host,security_model=passthrough",
        "-kernel", str(binary), "-initrd", str(image),
        "-append", f"console={CONSOLE[arch]} quiet panic=-1",
    ]  # fmt: skip


def boot(command: list[str], minutes: int) -> int:
    """Start the guest, show what it prints, and return the exit code of the tests.

    It is 1 for a guest that ends without one, or not within that time.
    """
    code = None
    guest = ["timeout", f"{minutes}m", *command]
    with subprocess.Popen(
        guest, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("guest: exit code "):
                code = int(line.split()[-1])
    if code is None:
        print(f"the guest did not boot, or did not end within {minutes} minutes")
        code = 1
    return code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flavour", help="of Debian's kernel: amd64, arm64, arm64-16k, uml")
    parser.add_argument("suite", help="of Debian, that the kernel is from")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("tests", nargs="*", default=TESTS)
    parser.add_argument("--filesystem", choices=FILESYSTEMS, default="ext4")
    parser.add_argument(
        "--numpy", default="==1.24.*", help="which NumPy; the oldest promised"
    )
    parser.add_argument("--work", type=Path)
    parser.add_argument("--minutes", type=int, default=30)
    given = parser.parse_args()
    packages, disk = FILESYSTEMS[given.filesystem]
    with tempfile.TemporaryDirectory() as temporary:
        work = (given.work or Path(temporary)).resolve()
        shared = Path(temporary) / "shared"
        shared.mkdir()
        arch = arch_of(given.flavour)
        root = unpacked_root(work, arch, packages)
        install(root, arch, given.wheel, given.numpy)
        place = kernel(work, given.flavour, given.suite)
        packed = image(root, place, work, disk, given.tests)
        sys.exit(boot(machine(arch, place, packed, shared), given.minutes))


if __name__ == "__main__":
    main()
