"""Build wheels and test them: what CI runs, and what a release is made of.

    python tests/elsewhere/wheels.py                    # build for x86_64, install and test
    python tests/elsewhere/wheels.py --all OUT          # build for every machine, into OUT

Knows which Pythons and which NumPy are promised. A Python that is not found is left out,
and named.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import cross

TREE = Path(__file__).resolve().parents[2]

# Python, and the oldest NumPy that has wheels for it and is promised.
OLDEST = {"3.11": "1.24.*", "3.12": "1.26.*", "3.13": "2.1.*"}

# Opening, copies, growth, records, arrays and faults: what a wrong wheel would break.
SMOKE = [
    "tests/memory/test_copying.py",
    "tests/memory/test_pages.py",
    "tests/memory/test_reports.py",
    "tests/mapping/test_growing.py",
    "tests/mapping/test_writing.py",
    "tests/file/test_records.py",
    "tests/arrays/test_rows.py",
]


def pythons() -> dict[str, str]:
    """Return the promised Pythons that are on this machine, by version."""
    found = {}
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for version in OLDEST:
        kept = sorted(root.glob(f"versions/{version}.*/bin/python3"))
        python = str(kept[-1]) if kept else shutil.which(f"python{version}")
        if python:
            found[version] = python
        else:
            print(f"there is no Python {version} here: left out", flush=True)
    return found


def test(wheel: Path, python: str, numpy: str, work: Path) -> None:
    """Install a wheel beside a NumPy, and run the smoke tests with both."""
    work.mkdir()
    place = work / "installed"
    subprocess.run([python, "-m", "venv", place], check=True)
    asked = [f"numpy{numpy}", "pytest>=9", "hypothesis>=6.100"]
    pip = [place / "bin/python", "-m", "pip", "install", "-q", wheel, *asked]
    subprocess.run(pip, check=True)
    shown = "import numpy, sys, yammap; print(sys.version.split()[0], numpy.__version__)"
    subprocess.run([place / "bin/python", "-P", "-c", shown], cwd=TREE, check=True)
    tests = [place / "bin/python", "-P", "-m", "pytest", "-q", *SMOKE]
    subprocess.run(tests, cwd=TREE, check=True)


def main() -> None:
    """Build, and test unless all are asked for."""
    parser = argparse.ArgumentParser(description="Build wheels and test them.")
    parser.add_argument("--all", type=Path, metavar="OUT", help="build for every machine")
    out = parser.parse_args().all
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        tools, made = work / "tools", out or work / "wheels"
        made.mkdir(parents=True, exist_ok=True)
        cross.install_tools(tools)
        for target in cross.TARGETS if out else ["manylinux_2_17_x86_64"]:
            for version, python in pythons().items():
                place = work / f"{version}-{target}"
                wheel = cross.wheel(TREE, python, target, tools, place, made)
                print(wheel.name, flush=True)
                if not out:
                    test(wheel, python, f"=={OLDEST[version]}", work / f"{version}-oldest")
                    test(wheel, python, "", work / f"{version}-newest")


if __name__ == "__main__":
    main()
