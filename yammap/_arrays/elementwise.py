"""What a handle leaves to arrays: operators, comparisons, and ndarray methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Elementwise"]

_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_BINARY = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "truediv": "/",
    "floordiv": "//",
    "mod": "%",
    "pow": "**",
    "matmul": "@",
    "and": "&",
    "or": "|",
    "xor": "^",
    "lshift": "<<",
    "rshift": ">>",
}
_WRITTEN = {
    **{name: f"handle[...] {sign} x" for name, sign in (_COMPARISONS | _BINARY).items()},
    **{f"r{name}": f"x {sign} handle[...]" for name, sign in _BINARY.items()},
    **{f"i{name}": f"handle[...] {sign}= x" for name, sign in _BINARY.items()},
    "divmod": "divmod(handle[...], x)",
    "rdivmod": "divmod(x, handle[...])",
    "neg": "-handle[...]",
    "pos": "+handle[...]",
    "invert": "~handle[...]",
    "abs": "abs(handle[...])",
}


class Elementwise:
    """Operators that compute nothing, and say what to write instead.

    Without them, Python would compare identities, and `h[h != 3]` would be the whole array.
    The result may need any amount of memory, so the caller should ask for it explicitly.
    """

    __slots__ = ()

    __hash__ = None  # type: ignore[assignment]  # like arrays, whose == gives no single bool

    def __getitem__(self, key: Any) -> Any:
        raise NotImplementedError

    def __contains__(self, value: Any) -> bool:
        return value in self[...]

    def __bool__(self) -> bool:
        return bool(self[...])

    if not TYPE_CHECKING:  # else type checkers would accept every name

        def __getattr__(self, name: str) -> NoReturn:
            """Refuse an unknown name; functions of NumPy ask for some and go on."""
            hint = ""
            if not name.startswith("_") and hasattr(np.ndarray, name):
                hint = f": the array has it, as handle[...].{name}"
            raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}{hint}")


def _refusing(written: str) -> Callable[..., NoReturn]:
    def refuse(self: Elementwise, *_: object) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} does not compute, its array does: write {written}"
        )

    return refuse


for _name, _text in _WRITTEN.items():
    setattr(Elementwise, f"__{_name}__", _refusing(_text))
