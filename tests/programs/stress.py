"""C programs of many threads, for tests: built plain, and under the compiler's checks.

ThreadSanitizer shows races, AddressSanitizer and UBSan the rest; without either a program
runs at full speed.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CORE = Path(__file__).parents[2] / "yammap"

MARKS = [
    pytest.mark.no_sanitizer,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler"),
]

BUILDS = {
    "plain": ["-O2"],
    "thread": ["-O1", "-fsanitize=thread"],
    "address": ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
}

# exitcode: also for a report in a forked child, which its parent sees.
OPTIONS = {
    "TSAN_OPTIONS": "halt_on_error=1 exitcode=66",
    "ASAN_OPTIONS": "exitcode=66",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def built(program, sources, flags):
    """Build a program; returns its command. Skip where the compiler lacks the sanitizer."""
    command = ["gcc", "-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", *flags]
    command += ["-I", CORE, *sources, "-o", program]
    done = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in done.stderr and "san" in done.stderr:
        pytest.skip("the compiler has no such sanitizer")
    assert done.returncode == 0, done.stderr
    return [*_fixed_addresses(), program]


def _fixed_addresses():
    """ThreadSanitizer needs some addresses free, which too much randomness may take."""
    prefix = ["setarch", "-R"]
    if shutil.which("setarch") is None:
        return []
    return prefix if subprocess.run([*prefix, "true"]).returncode == 0 else []


def run(command, **options):
    """Run it to its end, which has to be a good one; returns what it printed."""
    done = subprocess.run(
        command,
        env={**os.environ, **OPTIONS, **options},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    return done.stdout
