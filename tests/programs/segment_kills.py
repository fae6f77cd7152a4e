"""Kill users of segments at random: nothing is left, nothing in use goes, no byte is lost.

    python -P tests/programs/segment_kills.py [ROUNDS]

In each round three processes make segments, attach to each other's, write, and send
handles; each says what it has written. All are killed. What they said must then be there,
in segments that somebody still uses, and the next call must remove all others.
"""

import contextlib
import itertools
import multiprocessing
import os
import pickle
import random
import signal
import sys
import tempfile

import numpy as np

import yammap
from yammap._file import segments
from yammap.compat import shared_memory

WORKERS = 3


def work(directory, me, pipe, seed):
    """Make, attach, write and send, until killed."""
    choose = random.Random(seed)
    kept = yammap.shared("kept", directory=directory).array("i8")
    own = {}
    for value in itertools.count(1):
        kept[me] = value
        pipe.send(("written", value))
        match choose.randrange(4):
            case 0:
                name = f"{me}-{choose.randrange(3)}"
                own.pop(name, None)
                with contextlib.suppress(FileExistsError):  # another uses it, or a pickle
                    made = yammap.shared(name, 64, create=True, directory=directory)
                    made.array("i8")[:] = value
                    own[name] = made
            case 1:
                name = f"{choose.randrange(WORKERS)}-{choose.randrange(3)}"
                with contextlib.suppress(FileNotFoundError):
                    yammap.shared(name, directory=directory)[0]
            case 2 if own:
                array = choose.choice([*own.values()]).array("i8")
                sent = pickle.dumps(yammap.MappedArray.of(array))
                pipe.send(("handle", (int(array[0]), sent)))
            case 3:
                yammap.shared(f"{me}-short", 4096, create=True, directory=directory).close()


def received(pipe):
    """Yield all that was sent before the sender died; the last may be half a message."""
    try:
        while pipe.poll():
            yield pipe.recv()
    except (EOFError, OSError, pickle.UnpicklingError):
        pass


def kill(processes, choose):
    for process in choose.sample(processes, len(processes)):
        os.kill(process.pid, signal.SIGKILL)
        if choose.random() < 0.5:
            process.join()
    for process in processes:
        process.join()


def check(pipes, kept, directory):
    """Compare what was said with what is there; handles must still be good."""
    handles = []
    for me, pipe in enumerate(pipes):
        for kind, value in received(pipe):
            if kind == "written":
                assert kept[me] >= value, f"lost: {value} of process {me}"
            else:
                expected, sent = value
                handles.append((expected, pickle.loads(sent)))
        pipe.close()
    segments.clean(directory)
    for expected, handle in handles:
        assert os.path.exists(handle.path), "removed while in use"
        assert handle[0] == handle[-1] == expected
    return len(handles)


def play(directory, kept, choose):
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe(duplex=False) for _ in range(WORKERS)]
    processes = [
        context.Process(target=work, args=(directory, me, pipe[1], choose.random()))
        for me, pipe in enumerate(pipes)
    ]
    for process in processes:
        process.start()
    for _, write in pipes:
        write.close()
    for _ in range(choose.randrange(1, 40)):  # as many messages as fit are not waited for
        choose.choice(pipes)[0].poll(0.001)
    kill(processes, choose)
    return check([read for read, _ in pipes], kept, directory)


def run(rounds, directory, seed):
    """Play the rounds; returns how many handles came."""
    choose, handles = random.Random(seed), 0
    with yammap.shared("kept", 8 * WORKERS, create=True, directory=directory) as m:
        kept = m.array("i8")
        for _ in range(rounds):
            kept[:] = 0
            handles += play(directory, kept, choose)
            expire_tickets(directory)
            segments._due.clear()  # as in a process that has just begun
            yammap.shared("next", 1, create=True, directory=directory).close()
            assert os.listdir(directory) == ["yammap-kept"], os.listdir(directory)
        del kept
    assert os.listdir(directory) == []
    return handles


def expire_tickets(directory):
    """Let the time be over of pickles that were on their way when their sender died."""
    for name in os.listdir(directory):
        if name.startswith(".yammap-ticket-"):
            os.unlink(f"{directory}/{name}")


# -- A full file system


def segment(directory, name, size):
    m = yammap.shared(name, size, create=True, directory=directory)
    return m.array(), m.close


def drop_in(_, name, size):
    m = shared_memory.SharedMemory(name, create=True, size=size, track=False)
    return np.ndarray(size, "u1", m.buf), m.unlink


def hoard(make, directory, me, size, rounds, results):
    """Make and write until there is no room; then go on with less."""
    kept = []
    for i in range(rounds):
        try:
            array, leave = make(directory, f"{me}-{i}", size)
            array[:] = me
            kept.append((array, leave))
            results.put(0)
        except OSError as error:
            results.put(error.errno)
            give_back(kept, len(kept) // 2)
    assert all((array == me).all() for array, _ in kept)
    give_back(kept, len(kept))


def give_back(kept, count):
    for _, leave in kept[:count]:
        leave()
    del kept[:count]


def fill(directory, processes, size, rounds, make=segment):
    """Let processes make more than there is room for; returns an errno value a try."""
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    started = [
        context.Process(target=hoard, args=(make, directory, me, size, rounds, results))
        for me in range(processes)
    ]
    for process in started:
        process.start()
    found = [results.get() for _ in range(processes * rounds)]
    for process in started:
        process.join()
        assert process.exitcode == 0, process.exitcode
    segments.clean(directory)
    return found


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:
        print(f"{count} rounds, {run(count, made, seed=count)} handles came")
