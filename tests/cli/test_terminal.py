"""What the commands show: maps, sizes, names and progress, on any terminal."""

import fcntl
import json
import mmap
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import replace

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from yammap._cli import info, terminal

PAGE = mmap.PAGESIZE


@pytest.mark.parametrize(("width", "cells"), [(15, 1), (45, 16), (46, 32), (80, 64)])
def test_lines_of_the_map_start_at_round_offsets(width, cells, capsys):
    console = terminal.console()
    console.width = width
    terminal._draw(console, info.Residency(0, 100 << 30, 1 << 30, [1 << 30] * 100))
    lines = re.findall(r"^ +([\d.]+) G?i?B  (█+)$", capsys.readouterr().out, re.M)
    assert [float(offset) for offset, _ in lines] == list(range(0, 100, cells))
    assert "".join(drawn for _, drawn in lines) == "█" * 100
    assert len(lines[0][1]) == cells


@pytest.mark.parametrize(
    ("resident", "shade"),
    [(0, "·"), (1, "░"), (333, "░"), (334, "▒"), (667, "▓"), (999, "▓"), (1000, "█")],
)
def test_only_all_looks_like_all_and_nothing_like_nothing(resident, shade):
    assert terminal._shade("·░▒▓█", resident, 1000) == shade


def test_a_short_last_cell_can_be_full(capsys):
    terminal._draw(terminal.console(), info.Residency(0, 1025, 1024, [1024, 1]))
    assert "██" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536 << 20, "1.5 GiB"),
        ((1 << 63) - 1, "8.0 EiB"),
        (2.5, "2 B"),
    ],
)
def test_sizes_are_spelled(count, text):
    assert terminal.spelled_size(count) == text


def test_files_that_cannot_be_mapped_say_so(written, capsys):
    found = replace(info.inspect(str(written)), engine="pread")
    terminal.show(terminal.console(), found)
    assert "it cannot be mapped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b"[bold].bin", "[bold].bin"),
        (b":tada: x.bin", ":tada: x.bin"),
        ("naïve ☕.bin".encode(), "naïve ☕.bin"),
        (b"not utf-8 \xe9.bin", r"not utf-8 \udce9.bin'"),
        (b"two\nlines\x1b[31m.bin", r"two\nlines\x1b[31m.bin'"),
    ],
)
def test_names_are_shown_as_they_are_or_escaped(name, shown, tmp_path, run):
    path = os.path.join(os.fsencode(tmp_path), name)
    with open(path, "wb"):
        pass
    status, out, _ = run("info", path)
    assert (status, out.splitlines()[0].endswith(shown)) == (0, True)
    (found,) = json.loads(run("info", "--json", path)[1])
    assert os.fsencode(found["path"]) == path


def test_terminals_without_utf_8_get_ascii(memory, written, python):
    done = python("-m", "yammap", "info", str(written), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(
        r"^ +0 B  [-+*#]+\n  of .*: # all  \*\+- some  \. none$", done.stdout, re.M
    )


def test_what_the_encoding_has_no_letters_for_is_escaped(tmp_path, python):
    path = tmp_path / "naïve.bin"
    path.touch()
    done = python("-m", "yammap", "info", str(path), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].endswith(r"na\xefve.bin")


def on_terminal(columns, *arguments):
    """Run a command on a terminal of so many columns; returns all that it got."""
    own, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    environment = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "yammap", *map(str, arguments)],
        stdin=its,
        stdout=its,
        stderr=its,
        env={**environment, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"},
    )
    os.close(its)
    output = b"".join(iter(lambda: read_terminal(own), b""))
    os.close(own)
    assert process.wait(timeout=120) == 0, output
    return output.decode()


def read_terminal(fd):
    try:
        return os.read(fd, 65536)
    except OSError:  # EIO: nobody writes any more
        return b""


def lines_on_screen(output):
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output).replace("\r", "\n").split("\n")


@pytest.mark.parametrize("columns", [30, 80, 200])
def test_the_map_fits_the_terminal_and_has_colour(columns, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").write_bytes(b"x" * 200 * PAGE)
    output = on_terminal(columns, "info", "f")
    assert "\x1b[32m█" in output
    drawn = [line for line in lines_on_screen(output) if "B  █" in line]
    assert columns / 4 < max(map(len, drawn)) <= columns
    assert "".join(drawn).count("█") == 200


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("command", ["warm", "evict"])
def test_progress_fits_the_terminal(command, columns, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "a-name-that-is-longer-than-a-narrow-terminal-has-room-for"
    (tmp_path / name).write_bytes(b"x" * (3 << 20))
    output = on_terminal(columns, command, name)
    lines = lines_on_screen(output)
    assert max(map(len, lines)) <= columns
    assert re.search(r"^a-name.*… ━+ 100% +\d+\.\d .iB/s", "\n".join(lines), re.M)
    assert output.rstrip().endswith("\x1b[?25h")  # the cursor is back


def test_several_files_have_a_total_on_a_terminal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in "ab":
        (tmp_path / name).write_bytes(b"x" * (1 << 20))
    assert "warmed 2.0 MiB in 2 files" in on_terminal(80, "warm", "a", "b")
    assert "evicted 2.0 MiB in 2 files" in on_terminal(80, "evict", ".")


@pytest.mark.parametrize("columns", [40, 100])
def test_what_the_doctor_finds_fits_the_terminal(columns, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = lines_on_screen(on_terminal(columns, "doctor", "--fix"))
    assert max(map(len, lines)) <= columns
    assert any(line.startswith("ok mapping: works") for line in lines)
