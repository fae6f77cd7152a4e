"""The handler of bus errors under many threads, by itself: races/stress.c, built thrice."""

import mmap
from pathlib import Path

import pytest
import stress as programs

HERE = Path(__file__).parent / "races"

pytestmark = programs.MARKS

SOURCES = [
    HERE / "stress.c",
    *(
        programs.CORE / "_sigbus" / f"{name}.c"
        for name in ("carry", "fault", "heal", "patch")
    ),
]
MORE_FLAGS = {"thread": ["-include", "unseen.h"]}
ROUNDS = {"plain": 3000, "thread": 2000, "address": 2000}


@pytest.fixture(scope="module", params=programs.BUILDS)
def stress(request, tmp_path_factory):
    flags = [
        *programs.BUILDS[request.param],
        f"-DPAGE={mmap.PAGESIZE}",
        "-I",
        HERE,
        *MORE_FLAGS.get(request.param, []),
    ]
    program = tmp_path_factory.mktemp("races") / "stress"
    return programs.built(program, SOURCES, flags), ROUNDS[request.param]


@pytest.mark.parametrize("seed", range(3))
def test_09_39_everything_at_once(stress, seed):
    command, rounds = stress
    told = programs.run(
        [*command, str(seed), str(rounds)], ASAN_OPTIONS="detect_leaks=0 exitcode=66"
    )
    words = told.split()
    counts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    assert counts["told"] == rounds // 4 * 2  # each of two threads in each of its ranges
    assert counts["patches"] >= counts["told"]
    assert counts["sent"] > 0
    assert counts["copied"] > 0
