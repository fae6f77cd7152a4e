"""Run the tests on the Pythons of Debian unstable, as a user without privileges.

    python tests/elsewhere/chroot.py 3.14 3.15                          # all tests
    python tests/elsewhere/chroot.py 3.14 --tests tests/core tests/compat

As root on Debian, with debootstrap. It makes Debian unstable in a temporary directory. All
mounts in that are in a namespace of their own, which ends when the program does.
"""

import argparse
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")  # of the registry's mirror

# What runs there has mounts and processes of its own, which end with it.
APART = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]

# The root is a mount of its own, as programs need that mount in it.
MOUNTED = """
mount --bind "$0" "$0"
cd "$0"
mount -t proc proc proc
mount -t sysfs -o ro sys sys
mount -t tmpfs -o mode=755 dev dev
mkdir dev/shm dev/pts
mount -t tmpfs -o mode=1777 shm dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 pts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
for name in null zero full random urandom; do
    touch dev/$name
    mount --bind /dev/$name dev/$name
done
exec chroot . su -l tester -c "$1"
"""

# The README's command: an environment, yammap with its test tools, and the tests.
TESTED = """
set -e
export PIP_CERT=/certificates PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=2
cd ~/tree-{python}
python{python} -m venv .venv
.venv/bin/pip install '.[test]'
.venv/bin/python -c 'import sys, numpy; print(sys.version, "NumPy", numpy.__version__)'
.venv/bin/pytest -q --color=no {tests}
"""


def mirror() -> str:
    """Return the mirror of Debian that this machine uses."""
    targets = ["apt-get", "indextargets", "--format", "$(SITE)", "Label: Debian"]
    return subprocess.check_output(targets, text=True).split()[0]


def make_root(root: Path, pythons: list[str]) -> None:
    """Make a small Debian with the Pythons, a compiler, and a user."""
    packages = [f"python{python}-{kind}" for python in pythons for kind in ("dev", "venv")]
    include = f"--include={','.join(['gcc', 'libc6-dev', *packages])}"
    command = ["debootstrap", "--variant=minbase", include, "unstable", root, mirror()]
    subprocess.run([*APART, *command], check=True, stdout=subprocess.DEVNULL)
    shutil.copy("/etc/resolv.conf", root / "etc")
    shutil.copy(CERTIFICATES, root / "certificates")
    subprocess.run(["chroot", root, "useradd", "-m", "tester"], check=True)


def passes(root: Path, python: str, tests: list[str]) -> bool:
    """Run the tests on a clone of this tree with one of the Pythons."""
    home = root / "home/tester"
    subprocess.run(["git", "clone", "-q", TREE, home / f"tree-{python}"], check=True)
    subprocess.run(["chroot", root, "chown", "-R", "tester", "/home/tester"], check=True)
    script = TESTED.format(python=python, tests=" ".join(tests))
    command = [*APART, "bash", "-ec", MOUNTED, root, script]
    return subprocess.run(command).returncode == 0


def main() -> None:
    """Make the root, and run the tests on each Python; exit with 1 if any fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pythons", nargs="+", help="versions, such as 3.14")
    parser.add_argument("--tests", nargs="+", default=[], help="all, without it")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))  # and clean up
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "root"
        make_root(root, given.pythons)
        failed = [p for p in given.pythons if not passes(root, p, given.tests)]
    sys.exit(f"failed on Python {', '.join(failed)}" if failed else None)


if __name__ == "__main__":
    main()
