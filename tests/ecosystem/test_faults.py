"""A file that is cut short under a library is a BusError, and not the end of the process.

Views of other kinds, and cuts under copies, are in tests/faults.
"""

import pytest

pytestmark = pytest.mark.no_sanitizer

CUT = '''
import os
import numpy as np
import yammap

np.arange(1 << 20).tofile("numbers")
m = yammap.open("numbers", "r+")


def raises(call):
    """The call raises BusError, or the guard does.

    The guard, for what a library's own threads have touched, which Python cannot raise in.
    """
    try:
        with m.guard():
            call()
    except yammap.BusError as error:
        assert "numbers" in str(error)
        return True
    return False
'''

# Each makes `made` of the mapping, and reads it.
CONSUMERS = {
    "pandas": ("pandas.Series(m.array('<i8'), copy=False)", "made.sum()"),
    "pyarrow": ("pyarrow.array(m.array('<i8'))", "made.sum()"),
    "polars": ("polars.Series(m.array('<i8'))", "made.sum()"),
    "torch": ("torch.frombuffer(m, dtype=torch.int64)", "made.sum()"),
}


@pytest.mark.parametrize("library", CONSUMERS)
def test_cut_under_what_is_in_place(child, library):
    make, read = CONSUMERS[library]
    child(f"""{CUT}
import {library}
made = {make}
assert int({read}) == sum(range(1 << 20))
os.truncate("numbers", 4096)
assert raises(lambda: {read})
assert raises(m.size)
""")


def test_a_reader_of_the_file_object_ends_at_the_cut(child):
    """As with any file: what reads at the position goes by the size there is."""
    child(f"""{CUT}
import pandas
with open("numbers", "w") as file:
    file.write("n\\n" + "1\\n" * (1 << 20))
m.refresh()
os.truncate("numbers", 4096)
assert len(pandas.read_csv(m)) == (4096 - 2) // 2
""")
