"""A newcomer's first hour: what the README and the tutorial say, typed to the letter.

    python tests/programs/newcomer.py dist/yammap-*.whl

Each document becomes one terminal session: its shell commands go to bash, its Python to an
interactive `python`, line by line as if pasted, and what it says is printed must come, in
that order. The tutorial starts in an empty directory, and its ``pip install`` gets the
wheel in place of a clone. The README starts in a clone, with the wheel installed. What runs
the tests is left out: `.ci/run` does that on every Python.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from itertools import groupby
from pathlib import Path

from documents import ROOT, examples

RUNS_THE_TESTS = "pytest"
PATH_OF_A_CLONE = "/path/to/yammap"


def typed(document):
    """Return the document as a script for bash, and the texts it is to print."""
    kept = [e for e in examples(document) if RUNS_THE_TESTS not in e.source]
    lines = ["set -euo pipefail"]
    for language, blocks in groupby(kept, key=lambda example: example.language):
        sources = [example.source for example in blocks]
        if language == "sh":
            lines += sources
        else:  # an empty line after each block, as Enter is pressed
            lines += ["python -i -q <<'END'", "\n".join(sources), "END"]
    return "\n".join(lines), [e.printed for e in kept if e.printed]


def go_through(document, wheel, directory, environment):
    """Type it, and exit if a command fails, Python complains, or a text is not printed."""
    script, texts = typed(document)
    done = subprocess.run(
        ["bash", "-c", script.replace(PATH_OF_A_CLONE, str(wheel))],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
    )
    problems = [f"exit status {done.returncode}"] if done.returncode else []
    if 'File "<' in done.stderr:  # of a traceback, which `python -i` survives
        problems.append("an exception")
    place = 0
    for text in texts:
        place = done.stdout.find(text, place)
        if place < 0:
            problems.append(f"not printed:\n{text}")
            break
        place += len(text)
    if problems:
        sys.exit("\n".join([str(document), done.stdout, done.stderr, *problems]))
    print(f"{document.relative_to(ROOT)}: as it says")


def fresh_environment(first_on_path):
    """Return an environment without the traces of another one."""
    kept = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "PYTHONPATH")}
    return {**kept, "PATH": f"{first_on_path}:{os.environ['PATH']}", "PIP_QUIET": "1"}


def tutorial(wheel, work):
    directory = work / "tutorial"
    directory.mkdir()
    environment = fresh_environment(Path(sys.executable).parent)
    go_through(ROOT / "docs/tutorial.md", wheel, directory, environment)


def readme(wheel, work):
    subprocess.run([sys.executable, "-m", "venv", work / "venv"], check=True)
    environment = fresh_environment(work / "venv/bin")
    environment["PYTHONSAFEPATH"] = "1"  # the clone's source is not what is installed
    subprocess.run([work / "venv/bin/pip", "install", wheel], env=environment, check=True)
    clone = work / "yammap"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    go_through(ROOT / "README.md", wheel, clone, environment)


def main():
    wheel = Path(sys.argv[1]).resolve(strict=True)
    work = Path(tempfile.mkdtemp(prefix="newcomer-"))
    try:
        tutorial(wheel, work)
        readme(wheel, work)
    finally:
        shutil.rmtree(work)


if __name__ == "__main__":
    main()
