"""The demo."""

import os
import re
import subprocess
import sys

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from yammap import _demo

TEXTS = [
    b"def f(x):\n    return x + 1\n\n\ndef g(x):\n    return f(x) + f(x)\n",
    "# naïve café: ☕ — Ελληνικά\n".encode(),
    bytes(range(256)),
    b"",
]


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-P", "-W", "error", *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=300,
    )


@pytest.mark.parametrize("text", TEXTS)
def test_tokens_decode_to_their_text(text):
    vocabulary = _demo.Vocabulary(TEXTS)
    tokens = vocabulary.encode(text)
    assert tokens.dtype == "<u2"
    assert vocabulary.decode(tokens) == text


def test_text_that_was_never_counted_is_spelled_in_bytes():
    vocabulary = _demo.Vocabulary([])
    assert vocabulary.encode(b"word").tolist() == list(b"word")
    assert vocabulary.decode(vocabulary.encode(TEXTS[1])) == TEXTS[1]


def test_frequent_pieces_have_the_first_numbers():
    vocabulary = _demo.Vocabulary([b"rare often often"])
    assert vocabulary.encode(b"rare often").tolist() == [257, 256]


def test_vocabulary_is_limited_to_16_bits():
    text = b"".join(b" %d" % number for number in range(70_000))
    vocabulary = _demo.Vocabulary([text])
    assert len(vocabulary.pieces) == 1 << 16
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_sources_are_those_of_the_library_alone(tmp_path):
    for name in ("b.py", "a.py", "a.txt", "sub/c.py", "site-packages/d.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(name.encode())
    assert _demo.sources(tmp_path) == [b"a.py", b"b.py", b"sub/c.py"]


def test_library_without_sources_is_reported(tmp_path):
    with pytest.raises(SystemExit, match="no source file"):
        _demo.sources(tmp_path)


def test_different_results_are_reported():
    _demo.require_same([b"same", b"same", b"same"])
    with pytest.raises(RuntimeError, match="different bytes"):
        _demo.require_same([b"same", b"same", b"other"])


def test_demo_prints_its_table_and_cleans_up(tmp_path):
    done = run("-m", "yammap", "demo", "--directory", str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    for row in (
        "write",
        "copy a window",
        "slice a window",
        "append a window",
        "that was cut off",
    ):
        assert re.search(rf"^  {row}", done.stdout, re.MULTILINE)
    assert done.stdout.count(" GB/s ") == 3
    assert done.stdout.count(" µs ") == 9
    assert done.stdout.count("SIGBUS") == 2
    assert "gave every byte back" in done.stdout
    assert "BufferError" in done.stdout
    assert "\nBusError: " in done.stdout
    assert "…" not in done.stdout
    assert "\x1b" not in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_demo_cleans_up_when_it_fails(tmp_path, monkeypatch, error):
    def fail(console, paths):
        paths[0].write_bytes(b"left")
        raise error

    monkeypatch.setattr(_demo, "report", fail)
    with pytest.raises(error):
        _demo.run(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_demo_works_with_a_small_library(tmp_path, monkeypatch, capsys):
    library = tmp_path / "lib"
    library.mkdir()
    (library / "small.py").write_bytes(b"x = 1  # one\n" * 2000)
    monkeypatch.setattr(_demo.sysconfig, "get_path", lambda name: str(library))
    _demo.run(str(tmp_path))
    assert "gave every byte back" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [library]
