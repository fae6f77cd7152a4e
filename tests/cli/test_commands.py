"""The command line: what it prints, where, and how it ends."""

import json
import mmap
import os
import re
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import yammap

pytest.importorskip("click")
pytest.importorskip("rich")

import manual

from yammap import __main__
from yammap._cli import commands as cli

PAGE = mmap.PAGESIZE
COMMANDS = ["bench", "demo", "doctor", "evict", "info", "report", "shared", "warm"]


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


def test_json_has_all_of_several_files(written, memory, run):
    status, out, err = run("info", "--json", written, memory)
    first, second = json.loads(out)
    assert (status, err) == (0, "")
    assert (first["path"], first["size"]) == (str(written), 100_000)
    assert first["filesystem"].keys() == {"type", "source", "mount"}
    assert second["residency"] == {
        "start": 0,
        "length": 8 * PAGE,
        "cell": PAGE,
        "resident": [0, PAGE, PAGE, *[0] * 5],
    }
    assert second["filesystem"] is None


def test_info_of_a_directory_has_a_line_a_file_and_the_total(tmp_path, run):
    np.save(tmp_path / "a.npy", np.zeros(3))
    (tmp_path / "b").write_bytes(b"x" * 1024)
    status, out, err = run("info", tmp_path)
    assert (status, err) == (0, "")
    assert out.splitlines()[:4] == [
        f"     152 B  100%  {tmp_path}/a.npy  float64 (3,)",
        f"   1.0 KiB  100%  {tmp_path}/b",
        "",
        "total of 2 files",
    ]
    assert "  size        1.1 KiB" in out
    assert run("info", tmp_path / "b")[1].count("total") == 0


def test_info_of_a_range(memory, run):
    status, out, _ = run("info", "--offset", f"{PAGE}B", "--length", str(2 * PAGE), memory)
    assert status == 0
    assert f"  in memory   {2 * PAGE // 1024}.0 KiB (100.0%) of" in out
    assert f"{PAGE // 1024}.0 KiB  ██\n" in out


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("4096", 4096), ("64k", 65536), ("1.5GiB", 3 << 29), ("2 TB", 2 << 40)],
)
def test_sizes_have_units(text, size):
    assert cli._size(None, None, text) == size


def test_a_size_that_is_none_is_misuse(memory, run):
    status, _, err = run("info", "--length", "much", memory)
    assert status == 2
    assert "'much' is no size: write bytes, or a unit as in 64k or 1.5GiB" in err


def test_watching_goes_on_until_it_is_interrupted(memory, monkeypatch, run):
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli.time, "sleep", sleep)
    status, out, err = run("info", memory, "--watch")
    assert (status, err) == (130, "")
    assert out.count("in memory") == 3
    assert slept == [1.0, 1.0, 1.0]
    assert run("info", "--json", "--watch", "1", memory)[0] == 2


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
        "they are locked, mapped by another process, or on a tmpfs\n"
    )


def test_warm_names_what_did_not_stay(written, monkeypatch, run):
    monkeypatch.setattr(cli, "_resident", lambda m, ranges: PAGE)
    assert run("warm", written) == (
        1,
        "",
        f"yammap: {written}: only {PAGE // 1024}.0 KiB of 97.7 KiB stayed in memory, "
        "which has no room for more\n",
    )


def test_warm_believes_a_kernel_that_does_not_tell(written, monkeypatch, run):
    def hide(self, start, count):
        raise PermissionError(1, "hidden", self.name)

    monkeypatch.setattr(yammap.Mmap, "_bytes_resident", hide)
    assert run("warm", written) == (0, "", "")


def test_a_range_is_warmed_and_evicted_alone(written, run):
    assert run("evict", written) == (0, "", "")
    assert run("warm", "--offset", str(2 * PAGE), "--length", str(PAGE), written) == (
        0,
        "",
        "",
    )
    with yammap.open(written) as m:
        assert m.resident(2 * PAGE, PAGE).all()
        m.warm()
    assert run("evict", "--length", str(PAGE), written)[0] == 0


# -- Errors and exit status


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_a_command_as_shells_expect(signum, tmp_path):
    source = """
        import signal, time
        from yammap._cli import commands as cli
        # What a shell runs in the background ignores it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        def work(*_, **__):
            print("begun", flush=True)
            time.sleep(100)
        cli.inspect = work
        cli.commands(["info", "file"], prog_name="yammap")
    """
    command = [sys.executable, "-P", "-c", textwrap.dedent(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as done:
        assert done.stdout.readline() == b"begun\n"
        done.send_signal(signum)
        _, err = done.communicate(timeout=60)
    assert (done.returncode, err) == (128 + signum, b"")


@pytest.mark.parametrize("command", ["info", "warm", "evict"])
def test_files_after_one_that_fails_are_done(command, tmp_path, written, run):
    missing = tmp_path / "[bold]missing"
    status, out, err = run(command, missing, "/dev/null", written)
    assert status == 1
    assert err.splitlines() == [
        f"yammap: {missing}: No such file or directory",
        "yammap: /dev/null: only regular files can be mapped, and this is not one",
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
    def fail(directory, *_):
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
def test_missing_extra_is_reported(missing, extra, python):
    source = f"import sys; sys.modules[{missing!r}] = None; "
    done = python("-c", source + "from yammap.__main__ import main; main()", "bench")
    assert done.returncode == 1
    assert done.stderr == (
        f'yammap: this command needs {missing}: pip install "yammap[{extra}]"\n'
    )


# -- Help and completion


def test_version(python):
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


def test_the_manual_says_what_the_help_says():
    page = Path(__file__).parents[2] / "docs" / "yammap.1"
    assert page.read_text() == manual.manual(), "run tests/programs/manual.py"


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
        ("zsh", "plain\ninfo\nShow size"),
        ("fish", "plain,info\tShow size"),
    ],
)
def test_completion_of_each_shell(shell, answer, python):
    script = python("-m", "yammap", _YAMMAP_COMPLETE=f"{shell}_source").stdout
    assert f"_YAMMAP_COMPLETE={shell}_complete" in script
    asked = {"COMP_WORDS": "yammap in", "COMP_CWORD": "in" if shell == "fish" else "1"}
    done = python("-m", "yammap", _YAMMAP_COMPLETE=f"{shell}_complete", **asked)
    assert done.stdout.startswith(answer)
