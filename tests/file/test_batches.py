"""Batches that are read ahead: their order, their errors, and what they hold."""

import asyncio
import gc
import os
import threading
import weakref

import numpy as np
import pytest

import yammap
from yammap._file.batches import Batches, Done, buffers_for

PAGE = os.sysconf("SC_PAGESIZE")
SIZE = 300 * PAGE + 77
DEPTHS = [0, 1, 2, 4, 100]


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).integers(0, 256, SIZE, np.uint8)


@pytest.fixture
def m(path, data):
    path.write_bytes(data)
    with yammap.open(path, "r+") as m:
        m.sync()
        yield m


def cold(m):
    m.evict()
    return m


def index(count=12, size=100):
    return np.random.default_rng(count).integers(0, SIZE - size, (count, 40))


class Begun:
    """A batch that counts how many have begun and ended."""

    def __init__(self, log, item):
        self.log, self.item = log, item
        log.append(f"begin {item}")

    def finish(self):
        self.log.append(f"finish {self.item}")
        if self.item == "bad":
            raise ArithmeticError(self.item)
        return self.item


def logged(items, depth):
    log = []
    return Batches(lambda item: Begun(log, item), items, depth), log


# -- Order


@pytest.mark.parametrize("cached", [True, False, None])
@pytest.mark.parametrize("depth", DEPTHS)
def test_batches_come_in_order(m, data, depth, cached):
    batches = list(cold(m).batches(index(), 100, depth=depth, cached=cached))
    expected = [[data[o : o + 100] for o in offsets] for offsets in index()]
    assert np.array_equal(batches, expected)


@pytest.mark.parametrize("cached", [True, False, None])
@pytest.mark.parametrize("depth", DEPTHS)
def test_ragged_batches_come_in_order(m, data, depth, cached):
    lengths = index() % 101
    found = cold(m).batches_ragged(index(), lengths, depth=depth, cached=cached)
    for (values, starts), offsets, sizes in zip(found, index(), lengths, strict=True):
        pieces = [data[o : o + n] for o, n in zip(offsets, sizes, strict=True)]
        assert np.array_equal(values, np.concatenate(pieces))
        assert np.array_equal(np.diff(starts), sizes)


def test_as_many_as_asked_for_have_begun():
    batches, log = logged("abcdef", 2)
    assert log == []
    assert next(batches) == "a"
    assert log == ["begin a", "begin b", "begin c", "finish a"]
    assert next(batches) == "b"
    assert log[4:] == ["begin d", "finish b"]
    assert list(batches) == list("cdef")


def test_depth_0_begins_none_ahead():
    batches, log = logged("ab", 0)
    assert list(batches) == ["a", "b"]
    assert log == ["begin a", "finish a", "begin b", "finish b"]


def test_an_endless_iterable(m):
    def forever():
        while True:
            yield [0, 5]

    with m.batches(forever(), 3) as batches:
        assert [next(batches).shape for _ in range(50)] == [(2, 3)] * 50


def test_no_batches_and_empty_batches(m):
    assert list(m.batches([], 5)) == []
    assert [b.shape for b in m.batches([[], [1]], 5)] == [(0, 5), (1, 5)]


# -- Buffers


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_buffers_are_used_in_turn(m, data, depth):
    out = [np.zeros((40, 100), np.uint8) for _ in range(depth + 1)]
    for i, batch in enumerate(cold(m).batches(index(), 100, depth=depth, out=out)):
        assert np.shares_memory(batch, out[i % (depth + 1)])
        assert np.array_equal(batch, [data[o : o + 100] for o in index()[i]])


def test_a_batch_may_be_smaller_than_its_buffer(m, data):
    out = [np.zeros((40, 10), np.uint8) for _ in range(3)]
    offsets = [[1, 2, 3], [4], []]
    for batch, starts in zip(m.batches(offsets, 10, out=out), offsets, strict=True):
        assert batch.tolist() == [data[o : o + 10].tolist() for o in starts]
    flat = [np.zeros(50, np.uint8) for _ in range(3)]
    values, _ = next(m.batches_ragged([[1, 2]], [[3, 4]], out=flat))
    assert values.tolist() == data[[1, 2, 3, 2, 3, 4, 5]].tolist()
    assert np.shares_memory(values, flat[0])


def test_too_few_buffers(m):
    with pytest.raises(ValueError, match="out must have 3 arrays, for 2 batches under way"):
        m.batches([[0]], 1, out=[np.zeros(1, np.uint8)] * 2)
    with pytest.raises(ValueError, match="depth must not be negative: -1"):
        m.batches([[0]], 1, depth=-1)
    with pytest.raises(TypeError):
        m.batches([[0]], 1, depth=1.5)


def test_buffers_for_nobody():
    assert next(buffers_for(None, 7)) is None


# -- Errors


@pytest.mark.parametrize("depth", DEPTHS)
def test_an_error_comes_at_its_batch(m, depth):
    batches = cold(m).batches([[0], [5], [SIZE], [7]], 3, depth=depth)
    assert next(batches).shape == next(batches).shape == (1, 3)
    with pytest.raises(ValueError, match=f"record 0, 3 bytes at offset {SIZE}, is not in"):
        next(batches)
    assert next(batches, None) is None


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("cached", [True, False])
def test_a_cut_file_is_told_at_its_batch(m, data, depth, cached):
    cold(m)
    os.truncate(m.name, 200 * PAGE)
    batches = m.batches([[0], [PAGE, 250 * PAGE], [1]], 30, depth=depth, cached=cached)
    assert next(batches).tobytes() == data[:30].tobytes()
    with pytest.raises(yammap.BusError) as caught:
        next(batches)
    assert caught.value.record == 1


@pytest.mark.parametrize("depth", DEPTHS)
def test_an_iterable_that_raises(m, depth):
    def offsets():
        yield [0]
        yield [1]
        raise ZeroDivisionError

    batches = m.batches(offsets(), 3, depth=depth)
    assert next(batches).shape == next(batches).shape == (1, 3)
    with pytest.raises(ZeroDivisionError):
        next(batches)
    assert next(batches, None) is None


def test_an_interrupt_in_the_iterable_is_not_put_off(m):
    def offsets():
        yield [0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(m.batches(offsets(), 3))


def test_different_numbers_of_offsets_and_lengths(m):
    batches = m.batches_ragged([[0], [1]], [[2]])
    assert next(batches)[0].shape == (2,)
    with pytest.raises(ValueError, match="shorter"):
        next(batches)


def test_a_batch_that_fails_ends_the_others():
    batches, log = logged(["a", "bad", "c", "d"], 3)
    assert next(batches) == "a"
    with pytest.raises(ArithmeticError):
        next(batches)
    assert list(batches) == []
    assert "finish c" not in log


# -- The end


def test_closing_ends_the_batches(m):
    batches = cold(m).batches(index(), 100)
    next(batches)
    batches.close()
    batches.close()
    assert next(batches, None) is None


def test_leaving_a_block_closes(m):
    with pytest.raises(ZeroDivisionError), cold(m).batches(index(), 100) as batches:
        next(batches)
        raise ZeroDivisionError
    assert list(batches) == []


@pytest.mark.parametrize("started", [False, True])
def test_an_abandoned_iterator_lets_go_of_its_buffers(m, started):
    out = [np.zeros((40, 100), np.uint8) for _ in range(3)]
    buffers = [weakref.ref(buffer) for buffer in out]
    batches = cold(m).batches(index(), 100, out=out)
    if started:
        next(batches)
    del out, batches
    gc.collect()
    assert [buffer() for buffer in buffers] == [None] * 3


def test_closing_lets_go_of_the_buffers(m):
    out = [np.zeros((40, 100), np.uint8) for _ in range(3)]
    buffers = [weakref.ref(buffer) for buffer in out]
    batches = cold(m).batches(index(), 100, out=out)
    next(batches)
    batches.close()
    del out
    assert [buffer() for buffer in buffers] == [None] * 3


def test_the_mapping_may_be_closed_first(m):
    batches = cold(m).batches(index(), 100)
    next(batches)
    m.close()
    with pytest.raises(ValueError, match="closed"):
        next(batches)


# -- Event loops and threads


def test_an_event_loop(m, data):
    async def read():
        return [batch async for batch in cold(m).batches(index(), 100)]

    expected = [[data[o : o + 100] for o in offsets] for offsets in index()]
    assert np.array_equal(asyncio.run(read()), expected)


def test_an_error_in_an_event_loop(m):
    async def read():
        async for _ in m.batches([[0], [SIZE]], 1):
            pass

    with pytest.raises(ValueError, match="record 0"):
        asyncio.run(read())


def test_a_task_that_is_cancelled_closes_when_its_batch_is_there():
    """The thread that waits for the disk goes on until then."""
    in_batch, go_on = threading.Event(), threading.Event()

    class Slow:
        def finish(self):
            in_batch.set()
            go_on.wait()
            return 1

    async def read(batches):
        with batches:
            async for _ in batches:
                pass

    async def main():
        batches = Batches(lambda item: Slow(), [1, 2], 0)
        task = asyncio.create_task(read(batches))
        await asyncio.to_thread(in_batch.wait)
        task.cancel()
        threading.Timer(0.1, go_on.set).start()  # close() blocks the loop meanwhile
        with pytest.raises(asyncio.CancelledError):
            await task
        assert list(batches) == []

    asyncio.run(main())


def test_a_task_that_is_cancelled_leaves_its_batch_to_the_next_one():
    in_batch, go_on = threading.Event(), threading.Event()

    class Slow(Done):
        def finish(self):
            in_batch.set()
            go_on.wait()
            return super().finish()

    async def main():
        batches = Batches(Slow, [1, 2, 3], 0)
        task = asyncio.create_task(anext(batches))
        await asyncio.to_thread(in_batch.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        go_on.set()
        assert await anext(batches) == 1
        assert list(batches) == [2, 3]

    asyncio.run(main())


def test_threads_share_the_batches(m, data, eager_switching):
    offsets = np.arange(400).reshape(100, 4)
    batches, found = cold(m).batches(offsets, 3), []

    def take():
        found.extend(batch.tobytes() for batch in batches)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = [b"".join(data[o : o + 3].tobytes() for o in row) for row in offsets]
    assert sorted(found) == sorted(expected)
