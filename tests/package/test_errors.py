"""The exceptions and the faults, by themselves."""

import errno
import os
import pickle

import pytest

import yammap
from yammap._errors import NotContiguous, cause_of


def test_a_bus_error_is_an_os_error_with_a_place():
    error = yammap.BusError(errno.EIO, "why", "file")
    assert isinstance(error, OSError)
    assert (error.errno, error.strerror, error.filename) == (errno.EIO, "why", "file")
    assert (error.offset, error.access, error.count, error.record) == (0, "read", 0, None)
    error.offset, error.access, error.count, error.record = 5, "write", 3, 7
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert (again.offset, again.access, again.count, again.record) == (5, "write", 3, 7)


def test_a_short_read_is_an_end_of_file():
    assert issubclass(yammap.ShortRead, EOFError)
    assert yammap.ShortRead("short").count == 0


def test_what_is_not_contiguous_is_no_buffer_and_of_no_type_to_copy():
    assert issubclass(NotContiguous, BufferError)
    assert issubclass(NotContiguous, TypeError)


def test_a_fault_is_a_plain_tuple():
    fault = yammap.Fault(4096, 8192, "read", errno.EFAULT)
    assert fault == (fault.offset, fault.length, fault.access, fault.errno)


@pytest.mark.parametrize(
    ("code", "shrank", "text"),
    [
        (errno.EFAULT, None, "the kernel cannot supply the page"),
        (errno.EFAULT, "", "the file shrank"),
        (errno.EFAULT, " to 5 bytes", "the file shrank to 5 bytes"),
        (errno.ENOSPC, " to 5 bytes", os.strerror(errno.ENOSPC)),
        (errno.EIO, None, os.strerror(errno.EIO)),
    ],
)
def test_a_cause_in_words(code, shrank, text):
    assert cause_of(code, shrank) == text
