"""What a fork asks of every mapping there is."""

import pytest


def test_a_fork_renews_every_lock_whatever_one_mapping_does(child):
    """One that cannot be closed in the child must not leave the next as in the parent."""
    told = child("""
        import os, sys, yammap

        last = yammap.open("last", "w+", ahead=1 << 20)
        last.append(b"parent ")
        bad = yammap.open("bad", "w+", size=4096)
        first = yammap.open("first", "w+", ahead=1 << 20)
        first.append(b"parent ")
        bad.madvise(yammap.MADV_DONTFORK)
        os.close(bad.fileno())
        sys.unraisablehook = lambda hook: print(type(hook.exc_value).__name__, flush=True)
        pid = os.fork()
        if pid == 0:
            for m in (first, last):
                try:
                    m.append(b"child")
                except ValueError as error:
                    assert "forked" in str(error), error
                else:
                    os._exit(1)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        for m in (first, last):
            m.append(b"again")
            assert m[:] == b"parent again"
        try:
            bad.close()
        except OSError:
            pass
        """)
    assert told == "OSError\n"


def test_a_fork_while_a_mapping_is_freed(child):
    """Its attributes are gone before it is, and may fork: both processes free it."""
    child("""
        import os, yammap
        from yammap._linux.calls import Descriptor

        class Mapped(yammap.Mmap):
            pass

        pids, ends = [], []

        class Forking:
            def __del__(self):
                pids.append(os.fork())

        with open("file", "wb") as file:
            file.write(bytes(4096))
        for _ in range(20):
            m = Mapped(Descriptor(os.open, "file", os.O_RDWR), "file")
            m.forking = Forking()
            del m
            if pids[-1] == 0:
                os._exit(0)
            ends.append(os.waitpid(pids[-1], 0)[1])
        assert ends == [0] * 20, ends
        """)


def test_forks_among_threads_that_open_and_free(child):
    child("""
        import os, threading, warnings, yammap

        warnings.simplefilter("ignore", DeprecationWarning)     # a fork among threads
        done = threading.Event()

        def use():
            while not done.is_set():
                yammap.anonymous(4096)

        threads = [threading.Thread(target=use) for _ in range(2)]
        for thread in threads:
            thread.start()
        ends = []
        for _ in range(200):
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            ends.append(os.waitpid(pid, 0)[1])
        done.set()
        for thread in threads:
            thread.join()
        assert ends == [0] * 200, ends
        """)


def test_a_fork_leaves_the_program_descriptors(child):
    """What is opened once more before it, to know of errors, is not worth the last ones."""
    child("""
        import os, resource, yammap

        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        held = [yammap.open(f"file{i}", "w+", size=10) for i in range(35)]
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        more = [os.open("/dev/null", os.O_RDONLY) for _ in range(14)]
        for m in held:
            m.write_at(b"x", 0)
            m.sync()
        """)


@pytest.mark.parametrize(
    ("opened", "use", "used"),
    [
        (
            "yammap.open('log', 'w+')",
            "m.append(b'x' * 100); m.seek(0); m.read(10)",
            "m.append(b'child'); m.seek(0); m.read(1); m.close()",
        ),
        (
            "yammap.Mapping(os.open('log', os.O_RDWR | os.O_CREAT), 'log')",
            "m.append(b'x' * 100_000); m.resize(0)",
            "m.append(b'child')",
        ),
    ],
    ids=["Mmap", "Mapping"],
)
def test_fork_while_other_threads_use_the_mapping(child, opened, use, used):
    """What they held at the fork, nobody would ever release in the child."""
    child(f"""
        import os, signal, threading, warnings, yammap
        warnings.simplefilter("ignore", DeprecationWarning)     # of threads and fork
        m = {opened}
        done = threading.Event()

        def use():
            while not done.is_set():
                {use}

        threads = [threading.Thread(target=use) for _ in range(2)]
        for t in threads: t.start()
        for _ in range(60):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                {used}
                os._exit(0)
            status = os.waitpid(pid, 0)[1]
            if status: break
        done.set()
        for t in threads: t.join()
        assert status == 0
    """)
