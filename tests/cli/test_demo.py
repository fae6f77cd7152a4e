"""The demo."""

import os
import re
import signal
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from yammap._cli import demo

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
    vocabulary = demo.Vocabulary(TEXTS)
    tokens = vocabulary.encode(text)
    assert tokens.dtype == "<u2"
    assert vocabulary.decode(tokens) == text


def test_text_that_was_never_counted_is_spelled_in_bytes():
    vocabulary = demo.Vocabulary([])
    assert vocabulary.encode(b"word").tolist() == list(b"word")
    assert vocabulary.decode(vocabulary.encode(TEXTS[1])) == TEXTS[1]


def test_frequent_pieces_have_the_first_numbers():
    vocabulary = demo.Vocabulary([b"rare often often"])
    assert vocabulary.encode(b"rare often").tolist() == [257, 256]


def test_vocabulary_is_limited_to_16_bits():
    text = b"".join(b" %d" % number for number in range(70_000))
    vocabulary = demo.Vocabulary([text])
    assert len(vocabulary.pieces) == 1 << 16
    assert vocabulary.decode(vocabulary.encode(text)) == text


def test_sources_are_those_of_the_library_alone(tmp_path):
    for name in ("b.py", "a.py", "a.txt", "sub/c.py", "site-packages/d.py"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(name.encode())
    assert demo.sources(tmp_path) == [b"a.py", b"b.py", b"sub/c.py"]


def test_library_without_sources_is_reported(tmp_path):
    with pytest.raises(SystemExit, match="no Python source file"):
        demo.sources(tmp_path)


def test_different_results_are_reported():
    demo.require_same([b"same", b"same", b"same"])
    with pytest.raises(RuntimeError, match="different bytes"):
        demo.require_same([b"same", b"same", b"other"])


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
    def fail(console, paths, texts):
        paths[0].write_bytes(b"left")
        raise error

    monkeypatch.setattr(demo, "report", fail)
    with pytest.raises(error):
        demo.run(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_demo_works_with_a_small_library(tmp_path, monkeypatch, capsys):
    library = tmp_path / "lib"
    library.mkdir()
    (library / "small.py").write_bytes(b"x = 1  # one\n" * 2000)
    monkeypatch.setattr(demo.sysconfig, "get_path", lambda name: str(library))
    demo.run(str(tmp_path))
    assert "gave every byte back" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [library]


def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise OSError("no room")


@pytest.mark.parametrize(
    ("job", "reason"), [(kill_itself, "killed by SIGKILL"), (fail, "OSError: no room")]
)
def test_a_peer_that_dies_is_reported(job, reason):
    with pytest.raises(SystemExit, match=reason):
        demo.best_times([job])


def test_a_directory_without_room_is_refused_before_a_file_is_made(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    done = run_in_tmpfs("3m", small)
    assert done.returncode == 1
    assert re.search(r"needs \d+ MB, and .*small has 3 MB free", done.stderr)
    assert done.stdout.endswith("left:\n")


def test_a_small_disk_gets_a_part_of_the_tokens(tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    done = run_in_tmpfs("20m", small)
    assert (done.returncode, done.stderr) == (0, "")
    assert "gave every byte back" in done.stdout
    assert done.stdout.endswith("removed.\nleft:\n")


def test_texts_that_have_room():
    texts = [bytes(1 << 20)] * 10
    assert demo.fitting(texts, float("inf")) == texts
    assert demo.fitting(texts, 0) == []
    assert demo.fitting(texts, demo.room_for(demo.TOKENS_A_BYTE * (3 << 20))) == texts[:3]


def test_nothing_is_written_where_that_is_not_agreed_to(tmp_path, capsys):
    asked = []
    demo.run(str(tmp_path), asked.append)
    assert asked[0].endswith(f" MB to {tmp_path}, and removes it.")
    assert capsys.readouterr().out == "Nothing was written.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_narrow_terminal_gets_one_row_after_the_other(capsys):
    console = demo.Console(width=40, markup=False, highlight=False)
    demo.show(
        console, [("copy a\nwindow", "1 µs\nread_at", "2 µs\nm[i:j]", "3 µs\nx", "2")]
    )
    out = capsys.readouterr().out
    assert out.startswith(
        "copy a window\n  yammap     1 µs read_at\n  mmap       2 µs m[i:j]\n"
    )
    assert max(map(len, out.splitlines())) <= 40


def test_the_room_that_the_documents_name_is_enough(tmp_path):
    enough = tmp_path / "enough"
    enough.mkdir()
    done = run_in_tmpfs("100m", enough)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("removed.\nleft:\n")


def run_in_tmpfs(size, directory):
    """Run the demo where there is so much room, and tell what it leaves there."""
    script = """
        mount -t tmpfs -o size=$2 none "$1" || exit 77
        "$3" -P -W error -m yammap demo --directory "$1"
        status=$?
        echo left:
        ls -A "$1"
        exit $status
    """
    command = ["unshare", "-m", "sh", "-c", script, "sh", directory, size, sys.executable]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300)
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip(f"nothing can be mounted: {done.stderr}")
    return done


@pytest.mark.parametrize(
    "signum", [signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGKILL]
)
def test_a_demo_that_is_killed_leaves_nothing(tmp_path, signum):
    library, directory = tmp_path / "library", tmp_path / "directory"
    library.mkdir()
    directory.mkdir()
    (library / "small.py").write_bytes(b"x = 1  # one\n" * 2000)
    source = f"""
        import signal, sysconfig
        from yammap._cli import demo
        # What a shell runs in the background ignores it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sysconfig.get_path = lambda name: {str(library)!r}
        read = demo.read

        def read_without_end(*arguments):
            demo.ROUNDS = 1 << 40
            return read(*arguments)

        demo.read = read_without_end
        demo.run({str(directory)!r})
    """
    command = [sys.executable, "-P", "-c", textwrap.dedent(source)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"}
    with subprocess.Popen(command, **pipes, start_new_session=True) as demo:
        while not demo.stdout.readline().startswith("Written"):
            assert demo.poll() is None, demo.stderr.read()
        assert len(list(directory.glob("*/*"))) == 3
        os.killpg(demo.pid, signum)  # as a terminal does
        demo.stderr.read()  # until the last of them has ended
    assert demo.returncode == -signum
    assert list(directory.iterdir()) == []
