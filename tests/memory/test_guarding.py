"""The block of `guard`: what it gives, what it lets pass, and when it raises."""

import pytest

import yammap


@pytest.fixture
def m():
    with yammap.anonymous(100) as m:
        yield m


def test_it_gives_the_mapping_and_may_be_used_again(m):
    guard = m.guard()
    for _ in range(2):
        with guard as given:
            assert given is m


def test_what_the_block_raises_passes(m):
    with pytest.raises(ZeroDivisionError), m.guard():
        raise ZeroDivisionError


def test_a_closed_mapping_is_not_guarded(m):
    guard = m.guard()
    with guard:
        m.close()
    with pytest.raises(ValueError, match="closed"):
        guard.__enter__()


def test_an_array_is_guarded_by_its_region(m):
    view = m.view()
    with view.obj.guard() as given:
        assert given is None
    m.close()
    with view.obj.guard():
        assert view[0] == 0


@pytest.mark.no_sanitizer
@pytest.mark.parametrize("of", ["m", "view.obj"])
@pytest.mark.parametrize("inside", ["pass", "m.close()", "m.resize(99 << 20)"])
def test_it_raises_on_leaving_where_a_page_was_replaced(child, of, inside):
    """Also when the mapping has another region by then, or none."""
    child(f"""
        import contextlib, os, yammap
        m = yammap.open("file", "w+", size=8192, reserve=0, on_fault="poison")
        view = m.view()
        try:
            with {of}.guard():
                os.truncate("file", 0)
                assert view[5000] == 0
                with contextlib.suppress(yammap.BusError):
                    {inside}
                reached = True
        except yammap.BusError as error:
            assert error.offset == 5000 and reached
        else:
            raise AssertionError
        guard = view.obj.guard()
        try:
            guard.__enter__()
        except yammap.BusError:
            os._exit(0)
        os._exit(1)
    """)
