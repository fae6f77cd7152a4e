"""polars: readers and writers take a mapping for a file; what Arrow maps it views."""

import numpy as np
import polars as pl
import polars.testing
import pyarrow as pa
import pytest

import yammap

FRAME = pl.DataFrame({"n": range(1000), "x": np.linspace(0, 1, 1000), "s": ["é"] * 1000})

FORMATS = {
    "csv": (FRAME.write_csv, pl.read_csv),
    "json": (FRAME.write_ndjson, pl.read_ndjson),
    "parquet": (FRAME.write_parquet, pl.read_parquet),
    "ipc": (FRAME.write_ipc, pl.read_ipc),
    "scanned csv": (FRAME.write_csv, lambda m: pl.scan_csv(m).collect()),
    "scanned parquet": (FRAME.write_parquet, lambda m: pl.scan_parquet(m).collect()),
}


@pytest.mark.parametrize(("write", "read"), FORMATS.values(), ids=FORMATS)
def test_formats(new, write, read):
    write(new)
    assert not new.closed
    new.seek(0)
    pl.testing.assert_frame_equal(read(new), FRAME)


def frame_in_place(m):
    return pl.from_arrow(pa.ipc.open_file(m).read_all())


def test_an_ipc_file_in_place(path, inside, outlives):
    FRAME.write_ipc(path)
    with yammap.open(path, "r+") as m:
        frame = frame_in_place(m)
        pl.testing.assert_frame_equal(frame, FRAME)
        assert inside(frame["n"].to_numpy(allow_copy=False), m)
    outlives(frame_in_place, pl.DataFrame.rows)


def test_a_series_over_an_array(path, inside, outlives):
    np.arange(1000).tofile(path)
    with yammap.open(path, "r+") as m:
        assert inside(pl.Series(m.array("<i8")).to_numpy(allow_copy=False), m)
    outlives(lambda m: pl.Series(m.array("<i8")), pl.Series.to_list)


def test_a_closed_mapping(new):
    """polars panics at whatever `read` raises, and quotes it."""
    FRAME.write_csv(new)
    new.close()
    with pytest.raises(pl.exceptions.PanicException, match="is closed"):
        pl.read_csv(new)
