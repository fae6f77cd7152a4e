"""pyarrow: buffers and Arrow IPC files are read in place, all else as a file."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

import yammap

TABLE = pa.table({"n": np.arange(10_000), "s": [f"row {n}" for n in range(10_000)]})


def buffers(table):
    """All memory that a table is in."""
    columns = (column for column in table.columns)
    chunks = (chunk for column in columns for chunk in column.chunks)
    return [buffer for chunk in chunks for buffer in chunk.buffers() if buffer]


@pytest.fixture
def ipc(path):
    """An Arrow IPC file, mapped."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, TABLE.schema) as file:
        file.write_table(TABLE, max_chunksize=2500)
    with yammap.open(path, "r+") as m:
        yield m


def test_buffer(ipc, inside):
    buffer = pa.py_buffer(ipc)
    assert (buffer.size, buffer.is_mutable) == (ipc.size(), True)
    assert inside(buffer, ipc)
    assert inside(buffer.slice(100, 200), ipc)


def test_buffer_of_a_read_only_mapping(ipc):
    with yammap.open(ipc.name) as m:
        assert not pa.py_buffer(m).is_mutable


def test_ipc_file_is_read_in_place(ipc, inside):
    table = pa.ipc.open_file(ipc).read_all()
    assert table == TABLE
    assert len(buffers(table)) == 4 * 3
    assert all(inside(buffer, ipc) for buffer in buffers(table))
    assert pc.sum(table["n"]).as_py() == sum(range(10_000))


def test_ipc_stream_is_read_in_place(new, inside):
    with pa.ipc.new_stream(new, TABLE.schema) as stream:
        stream.write_table(TABLE)
    table = pa.ipc.open_stream(new).read_all()
    assert table == TABLE
    assert all(inside(buffer, new) for buffer in buffers(table))


def test_a_frame_of_a_table_is_in_place(path, inside):
    with yammap.open(path, "w+") as m:
        with pa.ipc.new_file(m, TABLE.schema) as file:
            file.write_table(TABLE)
        frame = pa.ipc.open_file(m).read_pandas(split_blocks=True)
        assert inside(frame["n"], m)
    assert frame["n"].sum() == sum(range(10_000))


def test_tables_outlive_the_mapping(ipc, path, outlives):
    outlives(lambda m: pa.ipc.open_file(m).read_all(), pa.Table.to_pydict)


def test_arrays_outlive_the_mapping(path, inside, outlives):
    np.arange(1000).tofile(path)
    with yammap.open(path) as m:
        array = pa.array(m.array("<i8"))
        assert inside(array.to_numpy(), m)
    outlives(lambda m: pa.array(m.array("<i8")), pa.Array.to_pylist)


def test_python_file(new):
    pa.PythonFile(new, "w").write(b"abcdefgh" * 1000)
    file = pa.PythonFile(new)
    assert file.seek(0) == 0
    assert file.read(3) == b"abc"
    assert file.size() == 8000
    new.close()
    with pytest.raises(ValueError, match="closed"):
        file.read(1)


def test_writing_into_place(path):
    with pa.BufferOutputStream() as sink:
        pa.ipc.new_stream(sink, TABLE.schema).write_table(TABLE)
        data = sink.getvalue()
    with yammap.create(path, len(data)) as m:
        pa.FixedSizeBufferWriter(pa.py_buffer(m)).write(data)
    assert pa.ipc.open_stream(path.read_bytes()).read_all() == TABLE


FORMATS = {
    "ipc": (
        lambda m: pa.feather.write_feather(TABLE, m),
        lambda m: pa.feather.read_table(m),
    ),
    "parquet": (lambda m: pq.write_table(TABLE, m), pq.read_table),
    "csv": (lambda m: pa.csv.write_csv(TABLE, m), lambda m: pa.csv.read_csv(m)),
}


@pytest.mark.parametrize(("write", "read"), FORMATS.values(), ids=FORMATS)
@pytest.mark.parametrize("source", [lambda m: m, pa.BufferReader], ids=["file", "buffer"])
def test_formats(new, write, read, source):
    write(new)
    assert not new.closed
    new.seek(0)
    assert read(source(new)) == TABLE


def test_a_parquet_file_of_a_closed_mapping(path):
    pq.write_table(TABLE, path, row_group_size=1000)
    with yammap.open(path) as m:
        by_file, by_buffer = pq.ParquetFile(m), pq.ParquetFile(pa.BufferReader(m))
        assert by_file.read_row_group(3) == TABLE[3000:4000]
    assert by_buffer.read_row_group(3) == TABLE[3000:4000]
    with pytest.raises(ValueError, match="closed"):
        by_file.read_row_group(4)
