"""CPython's own tests of shared memory, on the drop-in instead.

    python -P tests/programs/shared_memory_suite.py METHOD

METHOD is how processes are started: fork, spawn or forkserver. The tests are imported from
the interpreter that runs them, and run as they are. Programs that they start import the
drop-in as well. The exit status is 1 if one failed.
"""

import multiprocessing
import multiprocessing.managers
import multiprocessing.shared_memory as standard
import signal
import subprocess
import sys
import unittest

from test import _test_multiprocessing as theirs

from yammap.compat import shared_memory

FORMS = "multiprocessing import shared_memory", "multiprocessing.shared_memory import"


def ours(text):
    """Return source that imports the drop-in."""
    for form in FORMS:
        text = text.replace(form, form.replace("multiprocessing", "yammap.compat"))
    return text


class Popen(subprocess.Popen):
    def __init__(self, command, **options):
        super().__init__([*map(ours, command)], **options)


class TestSharedMemory(theirs._TestSharedMemory, theirs.ProcessesMixin, unittest.TestCase):
    """That is how CPython makes a class that can be run."""


def put_in_place():
    theirs.shared_memory = multiprocessing.managers.shared_memory = shared_memory
    subprocess.Popen = Popen
    # Names of the module that only its tests use.
    shared_memory._USE_POSIX = standard._USE_POSIX
    shared_memory._SHM_NAME_PREFIX = standard._SHM_NAME_PREFIX


if __name__ == "__main__":
    # A shell has programs in the background ignore the signal, which a test sends.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    multiprocessing.set_start_method(sys.argv[1], force=True)
    put_in_place()
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(TestSharedMemory)
    result = unittest.TextTestRunner(sys.stdout, verbosity=2).run(suite)
    sys.exit(not result.wasSuccessful())
