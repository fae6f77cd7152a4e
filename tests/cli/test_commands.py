"""The command line: what it prints, where, and how it ends."""

import fcntl
import json
import mmap
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from dataclasses import replace

import pytest

import yammap

pytest.importorskip("click")
pytest.importorskip("rich")

from yammap import __main__
from yammap._cli import commands as cli
from yammap._cli import info, terminal

PAGE = mmap.PAGESIZE
COMMANDS = ["bench", "demo", "evict", "info", "report", "warm"]


def python(*arguments, **environment):
    """Run the interpreter on a command line, and return what became of it."""
    return subprocess.run(
        [sys.executable, "-P", "-W", "error", *arguments],
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **environment},
        timeout=120,
    )


@pytest.fixture
def run(capsys):
    """Run a command here; returns its exit status, and what it printed where."""

    def run(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.commands([os.fsdecode(a) for a in arguments], prog_name="yammap")
        return int(end.value.code), *capsys.readouterr()

    return run


@pytest.fixture
def memory():
    """Memory of 8 pages by a path, of which the second and third are there."""
    with yammap.anonymous(8 * PAGE) as m:
        m.write_at(b"x" * 2 * PAGE, PAGE)
        yield f"/proc/self/fd/{m.fileno()}"


@pytest.fixture
def written(path):
    path.write_bytes(b"x" * 100_000)
    return path


# -- What is found out


def test_info_agrees_with_the_system(written):
    found = info.inspect(str(written))
    status = written.stat()
    assert (found.path, found.size) == (str(written), status.st_size)
    assert found.allocated == status.st_blocks * 512
    assert (found.holes, found.bytes_in_holes, found.engine) == (0, 0, "mmap")


def test_holes_are_counted_in_bytes(path):
    with yammap.open(path, "w+", size=1 << 20, preallocate=False) as m:
        m.write_at(b"data", 1 << 18)
        m.write_at(b"data", 1 << 19)
    found = info.inspect(str(path))
    data = (1 << 20) - found.bytes_in_holes
    assert found.holes == 3
    assert 0 < data == found.allocated <= 2 << 16


def test_data_at_both_ends_leaves_one_hole(path):
    with yammap.open(path, "w+", size=1 << 20, preallocate=False) as m:
        m.write_at(b"data", 0)
        m.write_at(b"data", (1 << 20) - 4)
    assert info.inspect(str(path)).holes == 1


def test_residency_is_told_by_the_page(memory):
    found = info.inspect(memory)
    assert found.residency == info.Residency(PAGE, [0, PAGE, PAGE, 0, 0, 0, 0, 0])
    assert (found.holes, found.bytes_in_holes) == (2, 6 * PAGE)
    assert found.filesystem is None


@pytest.mark.parametrize(
    ("pages", "cell", "cells"),
    [(1, 1, 1), (256, 1, 256), (257, 2, 129), (512, 2, 256), (513, 4, 129)],
)
def test_cells_are_powers_of_two(pages, cell, cells):
    with yammap.anonymous(pages * PAGE - 1) as m:
        m.write_at(b"end", m.size() - 3)
        found = info.residency(m)
    assert (found.cell, len(found.resident)) == (cell * PAGE, cells)
    assert sum(found.resident) == found.resident[-1] == PAGE - 1


def test_nothing_is_no_cells(path):
    path.touch()
    assert info.inspect(str(path)).residency.resident == []


def test_a_file_beyond_the_address_space():
    fd = os.memfd_create("huge")
    try:
        os.truncate(fd, 1 << 62)
        os.pwrite(fd, b"x", 1 << 61)
        found = info.inspect(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    assert (found.size, found.holes, found.engine) == (1 << 62, 2, "pread")
    assert found.residency is None or sum(found.residency.resident) == PAGE


@pytest.mark.parametrize("directory", [None, "/dev/shm"])
def test_filesystem_is_the_one_that_has_the_file(directory):
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        found = info.inspect(file.name).filesystem
        assert os.path.ismount(found.mount)
        assert os.stat(found.mount).st_dev == os.stat(file.name).st_dev
    mounts = subprocess.run(["mount"], capture_output=True, text=True, check=True).stdout
    assert f"{found.source} on {found.mount} type {found.type} " in mounts


def test_spaces_in_mounts_are_spaces():
    assert info._unescaped(r"/mnt/a\040b\134c") == r"/mnt/a b\c"


def test_what_the_kernel_hides_is_unknown_and_no_error(written, monkeypatch, run):
    def hide(self, start, count):
        raise PermissionError(1, "hidden", self.name)

    monkeypatch.setattr(yammap.Mmap, "_bytes_resident", hide)
    assert info.inspect(str(written)).residency is None
    assert "the kernel does not tell" in run("info", written)[1]


# -- info


def test_info_shows_facts_and_map(memory, run):
    status, out, err = run("info", memory)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        memory,
        f"  size        {8 * PAGE // 1024}.0 KiB ({8 * PAGE:,})",
        f"  on disk     {os.stat(memory).st_blocks / 2:.1f} KiB",
        f"  holes       {6 * PAGE // 1024}.0 KiB in 2",
        "  filesystem  -",
        f"  in memory   {2 * PAGE // 1024}.0 KiB (25.0%)",
        "",
        "         0 B  ·██·····",
        f"  of {PAGE // 1024}.0 KiB: █ all  ▓▒░ some  · none",
    ]


@pytest.mark.parametrize(("width", "cells"), [(15, 1), (45, 16), (46, 32), (80, 64)])
def test_lines_of_the_map_start_at_round_offsets(width, cells, capsys):
    console = terminal.console()
    console.width = width
    terminal._draw(console, info.Residency(1 << 30, [1 << 30] * 100), 100 << 30)
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
    terminal._draw(terminal.console(), info.Residency(1024, [1024, 1]), 1025)
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


def test_json_has_all_of_several_files(written, memory, run):
    status, out, err = run("info", "--json", written, memory)
    first, second = json.loads(out)
    assert (status, err) == (0, "")
    assert (first["path"], first["size"]) == (str(written), 100_000)
    assert first["filesystem"].keys() == {"type", "source", "mount"}
    assert second["residency"] == {"cell": PAGE, "resident": [0, PAGE, PAGE, *[0] * 5]}
    assert second["filesystem"] is None


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


def test_terminals_without_utf_8_get_ascii(memory, written):
    done = python("-m", "yammap", "info", str(written), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(
        r"^ +0 B  [-+*#]+\n  of .*: # all  \*\+- some  \. none$", done.stdout, re.M
    )


def test_what_the_encoding_has_no_letters_for_is_escaped(tmp_path):
    path = tmp_path / "naïve.bin"
    path.touch()
    done = python("-m", "yammap", "info", str(path), PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].endswith(r"na\xefve.bin")


# -- warm and evict


def test_evict_and_warm_do_so_in_silence(written, run):
    assert run("evict", written) == (0, "", "")
    with yammap.open(written) as m:
        assert not m.resident().any()
    assert run("warm", written) == (0, "", "")
    with yammap.open(written) as m:
        assert m.resident().all()
    assert written.read_bytes() == b"x" * 100_000


def test_evict_goes_piece_by_piece(written, monkeypatch, run):
    monkeypatch.setattr(cli, "_PIECE", 8 * PAGE)
    assert run("evict", written) == (0, "", "")
    with yammap.open(written) as m:
        assert not m.resident().any()


def test_evict_goes_on_where_the_kernel_does_not_tell(written, monkeypatch, run):
    evicted = []

    def hide(self, offset, length):
        evicted.extend((offset, length))
        raise PermissionError(1, "hidden", self.name)

    monkeypatch.setattr(cli, "_PIECE", 1 << 16)
    monkeypatch.setattr(yammap.Mmap, "evict", hide)
    assert run("evict", written) == (1, "", f"yammap: {written}: hidden\n")
    assert evicted == [0, 1 << 16, 1 << 16, 100_000 - (1 << 16)]


def test_evict_names_what_stayed(memory, run):
    status, out, err = run("evict", memory)
    assert (status, out) == (1, "")
    sizes = f"{2 * PAGE // 1024}.0 KiB of {8 * PAGE // 1024}.0 KiB"
    assert err == (
        f"yammap: {memory}: {sizes} stayed in memory: "
        "locked, mapped by another process, or on a tmpfs\n"
    )


def test_warm_names_what_did_not_stay(written, monkeypatch, run):
    monkeypatch.setattr(cli, "residency", lambda m: info.Residency(PAGE, [PAGE, 0]))
    assert run("warm", written) == (
        1,
        "",
        f"yammap: {written}: only {PAGE // 1024}.0 KiB of 97.7 KiB stayed in memory\n",
    )


def test_warm_believes_a_kernel_that_does_not_tell(written, monkeypatch, run):
    monkeypatch.setattr(cli, "residency", lambda m: None)
    assert run("warm", written) == (0, "", "")


# -- Errors and exit status


@pytest.mark.parametrize("command", ["info", "warm", "evict"])
def test_files_after_one_that_fails_are_done(command, tmp_path, written, run):
    missing = tmp_path / "[bold]missing"
    status, out, err = run(command, missing, tmp_path, written)
    assert status == 1
    assert err.splitlines() == [
        f"yammap: {missing}: No such file or directory",
        f"yammap: {tmp_path}: Is a directory",
    ]
    assert (str(written) in out) == (command == "info")


def test_a_file_that_may_not_be_read_is_no_misuse(written, monkeypatch, run):
    monkeypatch.setattr(os, "access", lambda *arguments, **options: False)
    assert run("info", written)[0] == 0


def test_json_has_the_files_that_could_be_had(tmp_path, written, run):
    status, out, err = run("info", "--json", tmp_path / "missing", written)
    assert (status, len(json.loads(out)), err.count("\n")) == (1, 1, 1)


@pytest.mark.parametrize(
    "arguments",
    [["info"], ["warm"], ["evict", "--fast"], ["nonsense"], ["report", "missing"]],
)
def test_misuse_is_status_2(arguments, run):
    status, out, err = run(*arguments)
    assert (status, out) == (2, "")
    assert "Error: " in err


@pytest.mark.parametrize("text", ["", "[]", "{}", "[1", '{"races": [1]}'])
def test_report_of_something_else_is_an_error(text, path, run):
    path.write_text(text)
    status, out, err = run("report", path)
    assert (status, out) == (1, "")
    assert err.startswith(f"Error: {path} is not what `yammap bench --json` writes: ")


def test_errors_of_the_system_have_no_traceback(monkeypatch, capsys):
    def fail(directory):
        raise OSError(28, "No space left on device", "/full")

    monkeypatch.setattr(cli.demonstration, "run", fail)
    monkeypatch.setattr(sys, "argv", ["yammap", "demo"])
    with pytest.raises(SystemExit) as end:
        __main__.main()
    assert end.value.code == "yammap: [Errno 28] No space left on device: '/full'"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_full_output_is_not_the_files_fault(options, written):
    command = [sys.executable, "-P", "-m", "yammap", "info", *options, str(written)]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=120)
    assert done.returncode == 1
    assert done.stderr == b"yammap: [Errno 28] No space left on device\n"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_reader_that_leaves_is_no_error(options, written):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-P", "-m", "yammap", "info", *options, str(written)]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, timeout=120)
    os.close(write)
    assert done.stderr == b""


def test_demo_needs_a_directory_that_exists(tmp_path, run):
    status, _, err = run("demo", "--directory", tmp_path / "missing")
    assert status == 2
    assert "does not exist" in err


@pytest.mark.parametrize(
    ("missing", "extra"), [("click", "cli"), ("rich", "cli"), ("matplotlib", "bench")]
)
def test_missing_extra_is_reported(missing, extra):
    source = f"import sys; sys.modules[{missing!r}] = None; "
    done = python("-c", source + "from yammap.__main__ import main; main()", "bench")
    assert done.returncode == 1
    assert done.stderr == (
        f'yammap: this command needs {missing}: pip install "yammap[{extra}]"\n'
    )


# -- Help and completion


def test_version():
    done = python("-m", "yammap", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"yammap, version {yammap.__version__}\n"


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help_has_examples(command, run):
    status, out, err = run(*command, "-h")
    assert (status, err) == (0, "")
    assert re.search(r"^  Examples:\n    yammap ", out, re.M)
    assert max(map(len, out.splitlines())) <= 80


def test_help_lists_all_commands():
    assert sorted(cli.commands.commands) == COMMANDS


BASH = """
eval "$(_YAMMAP_COMPLETE=bash_source yammap)"
COMP_WORDS=({words}) COMP_CWORD={last}
_yammap_completion yammap
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def completed_by_bash(tmp_path):
    """What bash makes of words, with a yammap of this interpreter first on its path."""
    command = tmp_path / "yammap"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -m yammap "$@"\n')
    command.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"

    def completed(*words):
        script = BASH.format(words=" ".join(words), last=len(words) - 1)
        done = subprocess.run(
            ["bash", "--norc", "-c", script],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "PATH": path},
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    return completed


def test_bash_completes_commands_options_and_scenarios(completed_by_bash):
    assert completed_by_bash("yammap", "''") == COMMANDS
    assert completed_by_bash("yammap", "info", "--j") == ["--json"]
    assert completed_by_bash("yammap", "bench", "to") == ["tokens"]


@pytest.mark.parametrize(
    ("shell", "answer"),
    [
        ("bash", "plain,info"),
        ("zsh", "plain\ninfo\nTell size"),
        ("fish", "plain,info\tTell size"),
    ],
)
def test_completion_of_each_shell(shell, answer):
    script = python("-m", "yammap", _YAMMAP_COMPLETE=f"{shell}_source").stdout
    assert f"_YAMMAP_COMPLETE={shell}_complete" in script
    asked = {"COMP_WORDS": "yammap in", "COMP_CWORD": "in" if shell == "fish" else "1"}
    done = python("-m", "yammap", _YAMMAP_COMPLETE=f"{shell}_complete", **asked)
    assert done.stdout.startswith(answer)


# -- On a terminal


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
