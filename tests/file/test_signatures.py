"""How public calls show their options, and the calls of the version before."""

import contextlib
import inspect
import pydoc
import warnings

import numpy as np
import pytest

import yammap

OPTIONS = ["reserve", "preallocate", "populate", "advice", "on_fault", "keep_fd", "engine"]
CALLS = {
    yammap.open: ["offset", "length"],
    yammap.open_file: ["private", "readonly", "offset", "length"],
    yammap.create: [],
    yammap.anonymous: [],
    yammap.atomic_create: [],
    yammap.open_array: [],
}


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_options_are_shown_with_types_and_defaults(call):
    shown = inspect.signature(call).parameters
    of = inspect.signature(yammap.Mmap).parameters
    options = CALLS[call] + [*OPTIONS, "ahead", "cached"]
    assert list(shown)[-len(options) :] == options
    for name in options:
        parameter = of[name]
        if (call, name) == (yammap.anonymous, "preallocate"):
            parameter = parameter.replace(default=False)
        assert shown[name] == parameter
        assert shown[name].annotation is not inspect.Parameter.empty
    assert not any(p.kind is p.VAR_KEYWORD for p in shown.values())
    shown = pydoc.render_doc(call).replace('"', "")  # before Python 3.14, in quotes
    assert "on_fault: Literal['raise', 'poison'] = 'raise'" in shown


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.__name__)
def test_the_file_is_called_path(call):
    first = next(iter(inspect.signature(call).parameters))
    assert first == ("size" if call is yammap.anonymous else "path")


@contextlib.contextmanager
def recorded():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        yield told
    assert {warning.category for warning in told} == {DeprecationWarning}


def test_the_first_argument_by_its_old_name(path):
    path.write_bytes(b"abc")
    with recorded() as told:
        yammap.open(file=path).close()
        yammap.open_file(name=path, perm=0o600).close()
        yammap.create(name=path, size=3, exist_ok=True).close()
        with yammap.atomic_create(name=path, size=3):
            pass
    assert [str(warning.message) for warning in told] == [
        "open(file=) is deprecated: write open(path=)",
        "open_file(name=) is deprecated: write open_file(path=)",
        "create(name=) is deprecated: write create(path=)",
        "atomic_create(name=) is deprecated: write atomic_create(path=)",
    ]
    assert {warning.filename for warning in told} == {__file__}


def test_arguments_that_had_no_name(path):
    path.write_bytes(bytes(range(8)))
    with recorded() as told:
        array = yammap.open_array(path, "u1", "r", (2, 2), 4, "F")
        with yammap.atomic_create(path, 3, 0o600):
            pass
    assert np.array_equal(array, [[4, 6], [5, 7]])
    assert path.stat().st_mode & 0o777 == 0o600
    assert [str(warning.message) for warning in told] == [
        "open_array() with shape and offset and order by position is deprecated: write "
        "open_array(..., shape=(2, 2), offset=4, order='F')",
        "atomic_create() with perm by position is deprecated: write "
        "atomic_create(..., perm=384)",
    ]
    assert {warning.filename for warning in told} == {__file__}


@pytest.mark.parametrize(
    ("arguments", "options", "text"),
    [
        (
            ("r", 3, 0, "C", 7),
            {},
            "open_array() got too many arguments without a name: write its options by name",
        ),
        (
            ("r", 3),
            {"shape": 4},
            "open_array() got two values for shape: pass shape= alone",
        ),
    ],
)
def test_a_call_that_never_was_right(path, arguments, options, text):
    with pytest.raises(TypeError) as error:
        yammap.open_array(path, "u1", *arguments, **options)
    assert str(error.value) == text


@pytest.mark.parametrize("name", ["gather", "gather_ragged", "scatter"])
def test_a_compiled_method_shows_what_is_written_in_python(name):
    method = getattr(yammap.Mmap, name)
    shown = inspect.unwrap(method)
    assert inspect.isfunction(shown)
    assert not inspect.isfunction(method)
    assert inspect.signature(method) == inspect.signature(shown)
    assert method.__qualname__ == f"Records.{name}"
    assert method.__doc__ == shown.__doc__
    assert inspect.getsource(method) == inspect.getsource(shown)
