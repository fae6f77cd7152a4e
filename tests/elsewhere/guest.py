"""Run tests under another kernel, in a machine that qemu emulates.

    python tests/elsewhere/guest.py amd64 bullseye WHEEL          # Linux 5.10
    python tests/elsewhere/guest.py amd64 bookworm WHEEL          # Linux 6.1
    python tests/elsewhere/guest.py amd64 trixie WHEEL            # Linux 6.12
    python tests/elsewhere/guest.py arm64-16k trixie WHEEL        # pages of 16 KiB

WHEEL is for CPython 3.11. As root on Debian, with debootstrap, cpio, qemu-system-x86 and
qemu-system-arm. Tests are named after it; without names, those of TESTS run. What it
makes goes to --work, a temporary directory if it is not given; a root that is there is used
again.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]

TESTS = [
    "tests/mapping/test_growing.py",
    "tests/mapping/test_writing.py",
    "tests/memory/test_copying.py",
    "tests/memory/test_pages.py",
    "tests/memory/test_reports.py",
    "tests/file/test_pages.py",
    "tests/file/test_records.py",
]

PACKAGES = ["python3", "kmod", "e2fsprogs"]
MODULES = ["fs", "lib", "crypto", "drivers/block", "net/9p", "net/sunrpc", "arch"]

QEMU = {
    "amd64": ["qemu-system-x86_64", "-cpu", "max"],
    "arm64": ["qemu-system-aarch64", "-M", "virt", "-cpu", "max,pauth=off"],
}
CONSOLE = {"amd64": "ttyS0", "arm64": "ttyAMA0"}
WHEELS = {"amd64": "x86_64", "arm64": "aarch64"}

# The first process of the guest: a disk with a filesystem, the tests on it, and the end.
INIT = """#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root PYTHONPATH=/site TMPDIR=/disk
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/shm /tmp /disk
mount -t tmpfs shm /dev/shm; mount -t tmpfs -o size=2G tmp /tmp
ln -sf /proc/self/fd /dev/fd; ip link set lo up 2>/dev/null
depmod -a; modprobe loop; modprobe ext4
truncate -s 1400M /tmp/disk.image; mkfs.ext4 -q -F /tmp/disk.image
mount -o loop /tmp/disk.image /disk
cd /tree
echo "guest: Linux $(uname -r) $(uname -m), pages of $(getconf PAGESIZE) bytes"
python3 -P -m pytest -q --color=no --tb=short --maxfail=12 -p no:cacheprovider {tests}
echo "guest: exit code $?"
sync
echo o > /proc/sysrq-trigger
sleep 60
"""


def run(*command: str, **options: object) -> None:
    subprocess.run([*map(str, command)], check=True, **options)


def unpacked_root(work: Path, arch: str) -> Path:
    """Return a directory with Debian 12, whose packages are unpacked and not set up."""
    root = work / f"root-{arch}"
    if not root.exists():
        run("debootstrap", "--foreign", f"--arch={arch}", "--variant=minbase",
            f"--include={','.join(PACKAGES)}", "bookworm", root)  # fmt: skip
        for package in (root / "var/cache/apt/archives").glob("*.deb"):
            run("dpkg-deb", "-x", package, root)
            package.unlink()
        (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    return root


def install(root: Path, arch: str, wheel: Path, numpy: str) -> None:
    """Install the wheel, NumPy and the test tools for the root's Python 3.11."""
    machine = WHEELS[arch]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", root / "site"]
    pip += ["--python-version=3.11", "--only-binary=:all:"]
    pip += [f"--platform=manylinux_2_{minor}_{machine}" for minor in (17, 27, 28)]
    shutil.rmtree(root / "site", ignore_errors=True)
    run(*pip, f"numpy{numpy}", "pytest>=9", "hypothesis", "click", "rich")
    run(*pip, "--no-deps", wheel)


def kernel(work: Path, flavour: str, suite: str) -> Path:
    """Return a directory with the suite's kernel of that flavour and its modules."""
    place = work / f"kernel-{suite}-{flavour}"
    if not place.exists():
        lists = work / f"lists-{suite}-{flavour}"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        apt = sources_of(suite, flavour.partition("-")[0], lists)
        run("apt-get", *apt, "-qq", "update")
        depends = ["apt-cache", *apt, "depends", f"linux-image-{flavour}"]
        lines = subprocess.check_output(depends, text=True).splitlines()
        name = next(line.split()[-1] for line in lines if "Depends:" in line)
        run("apt-get", *apt, "-qq", "download", name, cwd=lists)
        (package,) = lists.glob(f"{name}_*.deb")
        run("dpkg-deb", "-x", package, place)
        package.unlink()
    return place


def sources_of(suite: str, arch: str, lists: Path) -> list[str]:
    """Return options by which apt sees one suite for one architecture."""
    targets = ["apt-get", "indextargets", "--format", "$(SITE)", "Label: Debian"]
    site = subprocess.check_output(targets, text=True).split()[0]
    keys = "/usr/share/keyrings/debian-archive-keyring.gpg"
    sources = lists.with_suffix(".list")  # apt cleans the directory of the lists
    sources.write_text(f"deb [arch={arch} signed-by={keys}] {site} {suite} main\n")
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


def image(root: Path, kernel: Path, work: Path, tests: list[str]) -> Path:
    """Return an initial filesystem with the root, the kernel's modules and the tests."""
    (modules,) = kernel.glob("**/lib/modules/*")
    shutil.rmtree(root / "lib/modules", ignore_errors=True)
    target = root / "lib/modules" / modules.name
    for name in MODULES:
        if (modules / "kernel" / name).exists():
            shutil.copytree(modules / "kernel" / name, target / "kernel" / name)
    for name in "modules.order", "modules.builtin":
        shutil.copy(modules / name, target)
    shutil.rmtree(root / "tree", ignore_errors=True)
    shutil.copytree(TREE / "tests", root / "tree/tests")
    shutil.copy(TREE / "pyproject.toml", root / "tree")
    (root / "init").write_text(INIT.format(tests=" ".join(tests)))
    (root / "init").chmod(0o755)
    made = work / "image"
    pack = "find . -path ./usr/share/doc -prune -o -print | cpio -o -H newc --quiet"
    with made.open("wb") as packed:
        run("sh", "-c", pack, cwd=root, stdout=packed)
    return made


def boot(arch: str, kernel: Path, image: Path, minutes: int) -> int:
    """Start the guest, show what it prints, and return the exit code of the tests."""
    (binary,) = (kernel / "boot").glob("vmlinuz-*")
    code = 1
    command = [
        *QEMU[arch], "-m", "4G", "-smp", "2", "-nographic", "-no-reboot",
        "-kernel", str(binary), "-initrd", str(image),
        "-append", f"console={CONSOLE[arch]} quiet panic=-1",
    ]  # fmt: skip
    guest = ["timeout", f"{minutes}m", *command]
    with subprocess.Popen(
        guest, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("guest: exit code "):
                code = int(line.split()[-1])
    return code


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("flavour", help="of Debian's kernel: amd64, arm64, arm64-16k")
    parser.add_argument("suite", help="of Debian, that the kernel is from")
    parser.add_argument("wheel", type=Path)
    parser.add_argument("tests", nargs="*", default=TESTS)
    parser.add_argument(
        "--numpy", default="==1.24.*", help="which NumPy; the oldest promised"
    )
    parser.add_argument("--work", type=Path)
    parser.add_argument("--minutes", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (given.work or Path(temporary)).resolve()
        arch = given.flavour.partition("-")[0]
        root = unpacked_root(work, arch)
        install(root, arch, given.wheel, given.numpy)
        place = kernel(work, given.flavour, given.suite)
        sys.exit(boot(arch, place, image(root, place, work, given.tests), given.minutes))


if __name__ == "__main__":
    main()
