"""The handler of bus errors under many threads, by itself: races/stress.c, built thrice.

ThreadSanitizer shows the races of the lock-free pieces, AddressSanitizer and UBSan the
rest; without either it runs at full speed.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent / "races"
CORE = HERE.parents[2] / "yammap"

pytestmark = [
    pytest.mark.no_sanitizer,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="needs a C compiler"),
]

# exitcode: also for a report in a forked child, which its parent sees.
OPTIONS = {
    "TSAN_OPTIONS": "halt_on_error=1 exitcode=66",
    "ASAN_OPTIONS": "detect_leaks=0 exitcode=66",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}

BUILDS = {
    "plain": (["-O2"], 3000),
    "thread": (["-O1", "-fsanitize=thread", "-include", "unseen.h"], 2000),
    "address": (["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"], 2000),
}


def compiled(flags, program):
    """Build the program, or skip where the compiler lacks the sanitizer."""
    sources = [
        HERE / "stress.c",
        *(CORE / "_sigbus" / f"{name}.c" for name in ("carry", "fault", "heal", "patch")),
    ]
    command = ["gcc", "-std=gnu11", "-g", "-Wall", "-Wextra", "-Werror", "-pthread", *flags]
    command += ["-I", HERE, "-I", CORE, *sources, "-o", program]
    done = subprocess.run(command, capture_output=True, text=True)
    if "cannot find" in done.stderr and "san" in done.stderr:
        pytest.skip("the compiler has no such sanitizer")
    assert done.returncode == 0, done.stderr
    return program


def fixed_addresses():
    """ThreadSanitizer needs some addresses free, which too much randomness may take."""
    prefix = ["setarch", "-R"]
    if shutil.which("setarch") is None:
        return []
    return prefix if subprocess.run([*prefix, "true"]).returncode == 0 else []


@pytest.fixture(scope="module", params=BUILDS.values(), ids=BUILDS)
def stress(request, tmp_path_factory):
    flags, rounds = request.param
    program = compiled(flags, tmp_path_factory.mktemp("races") / "stress")
    return [*fixed_addresses(), program], rounds


@pytest.mark.parametrize("seed", range(3))
def test_09_39_everything_at_once(stress, seed):
    command, rounds = stress
    done = subprocess.run(
        [*command, str(seed), str(rounds)],
        env={**os.environ, **OPTIONS},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    words = done.stdout.split()
    counts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    assert counts["told"] == rounds // 4 * 2  # each of two threads in each of its ranges
    assert counts["patches"] >= counts["told"]
    assert counts["sent"] > 0
    assert counts["copied"] > 0
