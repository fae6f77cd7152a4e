"""pandas: readers and writers take a mapping for a file, frames take arrays over it."""

import numpy as np
import pandas as pd
import pytest

import yammap

FRAME = pd.DataFrame({"n": [1, 2, 3], "x": [0.5, 1.5, -2.5], "s": ["a", "é", "c,d"]})
COLUMNS = np.arange(3000, dtype="<f8").reshape(1000, 3)

FORMATS = {
    "csv": (
        lambda m: FRAME.to_csv(m, mode="wb", index=False),
        pd.read_csv,
    ),
    "csv by pyarrow": (
        lambda m: FRAME.to_csv(m, mode="wb", index=False),
        lambda m: pd.read_csv(m, engine="pyarrow"),
    ),
    "csv by python": (
        lambda m: FRAME.to_csv(m, mode="wb", index=False),
        lambda m: pd.read_csv(m, engine="python"),
    ),
    "gzipped csv": (
        lambda m: FRAME.to_csv(m, mode="wb", index=False, compression="gzip"),
        lambda m: pd.read_csv(m, compression="gzip"),
    ),
    "json": (
        lambda m: FRAME.to_json(m, mode="w", orient="records"),
        lambda m: pd.read_json(m, orient="records"),
    ),
    "parquet": (FRAME.to_parquet, pd.read_parquet),
    "feather": (FRAME.to_feather, pd.read_feather),
    "pickle": (FRAME.to_pickle, pd.read_pickle),
}


@pytest.mark.parametrize(("write", "read"), FORMATS.values(), ids=FORMATS)
def test_formats(new, write, read):
    write(new)
    new.seek(0)
    pd.testing.assert_frame_equal(read(new), FRAME)
    assert not new.closed


def test_csv_in_chunks(new):
    FRAME.to_csv(new, mode="wb", index=False)
    new.seek(0)
    chunks = pd.read_csv(new, chunksize=1)
    pd.testing.assert_frame_equal(pd.concat(chunks), FRAME)


def test_frames_and_series_over_a_mapping(path, inside):
    COLUMNS.tofile(path)
    with yammap.open(path, "r+") as m:
        frame = pd.DataFrame(m.array("<f8", (-1, 3)), columns=list("abc"), copy=False)
        series = pd.Series(m.array("<f8"), copy=False)
        assert inside(frame, m)
        assert inside(series, m)
        np.testing.assert_array_equal(frame.mean(), COLUMNS.mean(axis=0))
        m.write_at(np.float64(-1).tobytes(), 0)
        assert frame.loc[0, "a"] == series[0] == -1


def test_views_outlive_the_mapping(path, outlives):
    COLUMNS.tofile(path)
    outlives(
        lambda m: pd.DataFrame(m.array("<f8", (1000, 3)), copy=False),
        lambda frame: frame.to_numpy().tolist(),
    )


def test_a_reader_of_a_closed_mapping(new):
    FRAME.to_csv(new, mode="wb", index=False)
    new.seek(0)
    chunks = pd.read_csv(new, chunksize=1)
    new.close()
    with pytest.raises(ValueError, match="closed"):
        list(chunks)
    with pytest.raises(ValueError, match="closed"):
        pd.read_csv(new)
