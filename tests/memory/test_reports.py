"""The texts of bus errors, their attributes, and which thread is told."""

import textwrap

import pytest

import yammap

pytestmark = pytest.mark.no_sanitizer

CUT = """
import errno, mmap, os, pickle, threading, yammap
PAGE = mmap.PAGESIZE
SECOND, THIRD = PAGE + 100, 2 * PAGE + 100
m = yammap.create("file", 3 * PAGE, on_fault="{on_fault}")
view = m.view()
os.truncate("file", PAGE)

def bus_error(call):
    try:
        call()
        for _ in range(10**8):
            pass
    except yammap.BusError as error:
        return error
    raise AssertionError
"""


@pytest.fixture
def cut(child):
    """Run source in a process whose mapping `m` was cut by somebody else."""

    def run(source, on_fault="raise"):
        child(CUT.format(on_fault=on_fault) + textwrap.dedent(source))

    return run


def test_the_text_of_a_copy_has_both_sizes(cut):
    cut(
        """
        error = bus_error(lambda: m.pread(THIRD, 100))
        text = f'bus error, read at offset {PAGE}: '
        text += f'the file shrank from {3 * PAGE} to {PAGE} bytes'
        assert (error.strerror, error.filename) == (text, 'file'), error
        assert (error.errno, error.offset) == (errno.EFAULT, PAGE)
        assert (error.access, error.count) == ('read', PAGE - 100)
        """
    )


def test_the_text_of_a_view_says_what_is_in_the_place(cut):
    cut(
        """
        error = bus_error(lambda: view.__setitem__(SECOND, 1))
        text = f'bus error in a view, write at offset {SECOND}: '
        text += f'the file shrank to {PAGE} bytes'
        text += '; zeros are in its place until heal()'
        assert (error.strerror, error.filename) == (text, 'file'), error
        assert (error.errno, error.offset) == (errno.EFAULT, SECOND)
        assert (error.access, error.count) == ('write', 0)
        """
    )


@pytest.mark.parametrize("on_fault", ["raise", "poison"])
def test_methods_and_threads_raise_one_class(cut, on_fault):
    cut(
        """
        error = bus_error(lambda: view[SECOND] or m.size())
        again = pickle.loads(pickle.dumps(error))
        assert type(again) is yammap.BusError
        assert type(error).__name__ == 'BusError'
        assert type(error).__module__ in ('yammap', 'yammap._errors')
        assert (str(again), again.offset) == (str(error), SECOND)
        """,
        on_fault,
    )


def test_the_faults_are_told_until_they_are_healed(cut):
    cut(
        """
        view[THIRD]
        view[SECOND] = 1
        fault = yammap.Fault(PAGE, 2 * PAGE, 'read', errno.EFAULT)
        assert m.faults() == [fault], m.faults()
        os.truncate('file', 3 * PAGE)
        assert m.heal() == 1
        assert m.faults() == []
        """,
        "poison",
    )


def test_a_thread_is_told_of_its_own_page_alone(cut):
    cut(
        """
        errors = []
        work = lambda: errors.append(bus_error(lambda: view[THIRD]))
        thread = threading.Thread(target=work)
        thread.start(), thread.join()
        assert [error.offset for error in errors] == [THIRD]
        for _ in range(10**5): pass
        assert bus_error(m.size).offset == THIRD
        """
    )


def test_nothing_is_told_of_a_healthy_mapping():
    with yammap.anonymous(10) as m:
        assert m.faults() == []
        assert m.heal() == 0
