"""How public calls show their options, and how they were called before.

Knows parameters by name. It must not know what they mean.
"""

from __future__ import annotations

import inspect
import warnings
from functools import update_wrapper, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["done_by", "formerly", "renames", "shows"]

_P = ParamSpec("_P")
_T = TypeVar("_T")


def shows(
    options: Any, of: Callable[..., Any], **other_defaults: object
) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Let a function that takes ``**options`` show each of them.

    `help`, `inspect.signature` and the reference then have the names, types and defaults,
    as type checkers do; a call is not slower by that.

    Parameters
    ----------
    options : TypedDict
        The options that the function takes.
    of : callable
        Where their types and defaults stand.
    **other_defaults
        Defaults that are different here.

    Returns
    -------
    callable
        A decorator, which returns the function itself.
    """
    shown = [
        parameter.replace(default=other_defaults.get(name, parameter.default))
        for name, parameter in inspect.signature(of).parameters.items()
        if name in options.__optional_keys__
    ]

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        signature = inspect.signature(function)
        *own, _ = signature.parameters.values()
        function.__signature__ = signature.replace(parameters=[*own, *shown])  # type: ignore[attr-defined]
        return function

    return decorate


def done_by(
    function: Callable[..., Any],
) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Let a compiled function be the method that is shown here.

    A method that calls the function would cost a small batch a fifth of its instructions.

    Parameters
    ----------
    function : callable
        It takes what the method takes, and is bound as a method is.

    Returns
    -------
    callable
        A decorator, which returns that function with the method's name and documentation.
    """

    def decorate(shown: Callable[_P, _T]) -> Callable[_P, _T]:
        return update_wrapper(function, shown)

    return decorate


def formerly(
    positional: tuple[str, ...] = (), *, first: str = "", hint: str = ""
) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Let a function be called as it was in the version before, with a warning.

    Parameters
    ----------
    positional : tuple of str
        Parameters that could be passed by position: those after the ones that still can.
    first : str
        The name that the parameter ``path`` had, if it had another.
    hint : str
        What to write instead of a call with too many arguments.

    Returns
    -------
    callable
        A decorator.
    """

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        parameters = inspect.signature(function).parameters.values()
        count = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)
        name = function.__qualname__.removesuffix(".__init__")

        @wraps(function)
        def called(*arguments: _P.args, **options: _P.kwargs) -> _T:
            if len(arguments) > count or (first and first in options):
                return old_call(arguments, options)
            return function(*arguments, **options)

        def old_call(arguments: Any, options: Any) -> _T:
            if first in options:
                _warn(f"{name}({first}=)", f"{name}(path=)")
                options["path"] = options.pop(first)
            if surplus := arguments[count:]:
                options |= _named(name, positional, surplus, options, hint)
            return function(*arguments[:count], **options)

        return called

    return decorate


def renames(
    **old_names: tuple[str, Callable[[Any], object] | None],
) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Let a function take options by their old names, with a warning.

    Signatures and type checkers know the new names only.

    Parameters
    ----------
    **old_names
        The new name of each, and what makes the new value of the old one, if they differ.

    Returns
    -------
    callable
        A decorator.
    """

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        name = function.__name__

        @wraps(function)
        def renamed(*arguments: _P.args, **options: _P.kwargs) -> _T:
            for old in old_names.keys() & options.keys():
                new, convert = old_names[old]
                if new in options:
                    raise TypeError(f"{old} is the old name of {new}: pass {new} alone")
                value: Any = options.pop(old)
                options[new] = convert(value) if convert else value
                _warn(f"{name}({old}=)", f"{name}({new}={options[new]!r})", 3)
            return function(*arguments, **options)

        return renamed

    return decorate


def _named(
    function: str,
    names: tuple[str, ...],
    values: tuple[object, ...],
    options: dict[str, object],
    hint: str,
) -> dict[str, object]:
    """Return surplus arguments by the names that they have now."""
    if len(values) > len(names):
        raise TypeError(f"{function}() got too many arguments without a name: {hint}")
    found = dict(zip(names, values, strict=False))
    for name in found.keys() & options.keys():
        raise TypeError(f"{function}() got two values for {name}: pass {name}= alone")
    written = ", ".join(f"{name}={value!r}" for name, value in found.items())
    old = f"{function}() with {' and '.join(found)} by position"
    _warn(old, f"{function}(..., {written})", 5)
    return found


def _warn(old: str, new: str, level: int = 4) -> None:
    warnings.warn(f"{old} is deprecated: write {new}", DeprecationWarning, level)
