"""Views that outlive what they came from: cases 28 to 33.

tests/memory/test_region.py and tests/core/test_threads.py have what needs no
child to crash.
"""

import lab
import pytest

pytestmark = pytest.mark.no_sanitizer

# Each gives a view of the 4 pages of `m`.
PLAIN = {
    "memoryview": "memoryview(m)",
    "view": "m.view()",
    "np.frombuffer": "np.frombuffer(m, 'u1')",
    "np.ndarray(buffer=)": "np.ndarray(4 * PAGE, 'u1', buffer=m)",
    "np.asarray": "np.asarray(m)",
    "array": "m.array()",
    "DLPack": "np.from_dlpack(m.array())",
    "ctypes": "(ctypes.c_char * (4 * PAGE)).from_buffer(m)",
    "slices": "memoryview(m)[1:][1:].cast('c')[:-1]",
    "strides": "m.array('S8')[::2][1:].reshape(-1, 1).T",
}
OTHERS = {
    "pyarrow": ["pyarrow.py_buffer(m)", "pyarrow.py_buffer(m).slice(5)"],
    "PIL.Image": ["PIL.Image.frombuffer('L', (128, 128), m, 'raw', 'L', 0, 1)"],
    "torch": [
        "torch.frombuffer(m, dtype=torch.uint8).numpy()",
        "torch.from_numpy(m.array()).numpy()",
        "torch.from_dlpack(m.array())[5:].numpy()",
        "np.from_dlpack(torch.from_dlpack(m.array()[1:])[1:])",
    ],
}

SURVIVE = """
def read(view):
    return view.tobytes() if hasattr(view, "tobytes") else bytes(view)


def survives(make):
    "The view reads the same when all it came from is gone, and lets go in the end."
    global m
    m = mapped()
    path = os.path.abspath("file")
    view = make()
    expected = read(view)
    assert len(expected) > PAGE
    m.close()
    assert read(view) == expected
    del m
    gc.collect()
    churn = [yammap.anonymous(MIB).array() for _ in range(20)]
    assert read(view) == expected
    assert len(maps(path)) >= 1
    del view
    gc.collect()
    assert maps(path) == []


def faults(make):
    "The view is cut off from the file, and the process lives to tell."
    global m
    m = mapped(on_fault="poison")
    view = make()
    expected = read(view)
    os.truncate("file", PAGE)
    cut = read(view)
    assert len(cut) == len(expected) and cut != expected
    assert m.faults()[0].errno == errno.EFAULT
    bus_error(m.close)
    assert read(view) == cut
"""


@pytest.mark.parametrize("consume", PLAIN.values(), ids=PLAIN)
def test_28_33_views_outlive_close(faulty, consume):
    faulty(SURVIVE + f"\nsurvives(lambda: {consume})\nfaults(lambda: {consume})")


@pytest.mark.parametrize("package", OTHERS)
def test_28_33_views_of_other_libraries_outlive_close(faulty, package):
    lab.need(package)
    calls = "".join(
        f"\nsurvives(lambda: {c})\nfaults(lambda: {c})" for c in OTHERS[package]
    )
    faulty(SURVIVE + f"\nimport {package}" + calls)


def test_29_only_others_can_cut_a_file_under_a_view(faulty):
    faulty("""
        m = mapped()
        view = m.array()
        for cut in (lambda: m.resize(PAGE), lambda: m.truncate(0)):
            raised(BufferError, cut)
            assert m.size() == os.stat("file").st_size == 4 * PAGE
        assert view.tobytes() == letters(4)
        del view
        m.resize(PAGE)
        assert m.faults() == []
    """)


def test_29_healing_and_revoking_leave_resize_as_it_is(faulty):
    faulty("""
        m = mapped(on_fault="poison")
        view = m.array()
        os.truncate("file", PAGE)
        assert view[3 * PAGE] == 0
        m.heal()
        m.refresh()
        raised(BufferError, m.resize, 10)
        m.resize(4 * PAGE)              # growth brings the old addresses to life
        m.write_at(b"new", 3 * PAGE)
        assert view[3 * PAGE :][:3].tobytes() == b"new"
        del view
        m.resize(10)
        assert content() == b"A" * 10
    """)


def test_30_views_that_faulted_see_the_file_after_growth(faulty):
    faulty("""
        m = mapped(1, reserve=0, on_fault="poison")
        views = []
        for pages in range(2, 102):
            m.resize(pages * PAGE)
            views.append(m.array())
        starts = [view.ctypes.data for view in views]
        os.truncate("file", PAGE)
        assert all(view[-1] == 0 for view in views)
        bus_error(m.sync)
        os.truncate("file", 101 * PAGE)
        assert m.heal() == 0
        m.write_at(b"x" * (100 * PAGE), PAGE)
        assert all(view[-1] == ord("x") for view in views)
        assert starts == [view.ctypes.data for view in views]
    """)


def test_31_revoking_frees_the_file_under_views(faulty, small_tmpfs):
    faulty("""
        m = yammap.create("small/file", MIB // 2)
        m.write_at(b"x" * (MIB // 2), 0)
        views = [m.array(), memoryview(m), np.ndarray(10, "u1", buffer=m)]
        os.unlink("small/file")
        used = os.statvfs("small").f_bfree
        m.close(revoke=True)
        assert m.closed
        assert os.statvfs("small").f_bfree >= used + MIB // 2 // PAGE
        assert not any(bytes(view[:10]).strip(bytes(1)) for view in views)
        assert not views[0].any()
        views[0][:] = 1
        assert maps("small/file") == []
    """)


def test_31_revoking_during_copies(faulty):
    faulty("""
        for _ in range(20):
            m = yammap.open("file", "w+", size=16 * MIB)
            m.write_at(b"x" * (16 * MIB), 0)
            view = m.view()
            begun = threading.Barrier(3)

            def copy():
                buffer = bytearray(16 * MIB)
                begun.wait()
                try:
                    while True:
                        m.read_at(buffer, 0)
                except ValueError:
                    pass

            threads = start(copy, copy)
            begun.wait()
            m.close(revoke=True)
            for t in threads: t.join()
            assert view[5] == 0
    """)


@pytest.mark.parametrize("on_fault", ["raise", "poison"])
def test_32_a_fault_while_the_interpreter_ends(faulty, on_fault):
    out = faulty(f"""
        import atexit

        class Late:
            def __init__(self, view):
                self.view = view
            def __del__(self, write=os.write, length=3 * PAGE):
                write(1, b"late %d " % self.view[length])

        m = mapped(on_fault={on_fault!r})
        sys.modules["holder"] = Late(m.array())
        view = memoryview(m)
        os.truncate("file", PAGE)
        atexit.register(lambda: os.write(1, b"exit "))
    """)
    assert out == "exit late 0 "


def test_32_a_thread_that_ended_right_after_its_fault(faulty):
    # There is nobody left to raise it in; it must hit no other thread.
    faulty("""
        m = mapped()
        view = m.array()
        os.truncate("file", PAGE)
        string_at = ctypes.string_at
        threading.excepthook = lambda args: None
        for _ in range(100):
            t = threading.Thread(target=string_at, args=(view.ctypes.data + 3 * PAGE, 1))
            t.start()
            t.join()
            m.heal()
            assert m.faults() == []
    """)


def test_33_a_collected_mapping_heals_no_more_but_lives(faulty):
    faulty("""
        m = mapped(on_fault="poison")
        path = os.path.abspath("file")
        chain = np.from_dlpack(m.array()[PAGE:])
        chain = chain.view("u8")[1:].reshape(-1).T[::-1]
        del m
        gc.collect()
        os.truncate("file", PAGE)
        assert not chain.any()
        chain[0] = 7
        assert chain[0] == 7 and content() == b"A" * PAGE
        del chain
        gc.collect()
        assert maps(path) == []
    """)
