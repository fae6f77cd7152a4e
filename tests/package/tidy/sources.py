"""Python, Cython and C, read as far as tidiness needs it: no compiler, a few expressions.

Each function takes text and returns plain values. Lines are counted from 1, and blanking
keeps every line in its place.
"""

import ast
import re
from typing import NamedTuple

C = {".c", ".h"}
PYTHON = {".py", ".pyi"}

# What is a comment, and what a string literal: in C, or not.
_WORDS = {
    True: r"""(?P<comment>//[^\n]*|/\*.*?\*/)"""
    r"""|(?P<text>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*')""",
    False: r"""(?P<comment>\#[^\n]*)|(?P<text>(?P<prefix>\b[A-Za-z]{1,2})?"""
    r"""(?P<quote>\"{3}|'{3}|"|')(?:\\.|(?!(?P=quote)).)*?(?P=quote))""",
}
_PLACEHOLDER = re.compile(r"\{([^{}\n]+)\}")

# `cdef int f(`, `def f(`; not `cdef int x = f(`, and no class.
_FUNCTION = re.compile(
    r"( *)(?:async )?(?:cdef|cpdef|def)\b(?! (?:class|extern)\b)[^=(]*?(\w+)\("
)
_C_FUNCTION = re.compile(r"^(\w[^;{}#]*\)\s*)\{\n.*?^\}", re.M | re.S)
_CLASS = re.compile(r"( *)(?:cdef )?class (\w+)(?:\(([\w., ]*)\))?:")
_FIELD = re.compile(r" *cdef (public |readonly )?([\w. ]*?\w)[ *]+(\w+(?:, *\*?\w+)*) *$")
_DEFINED = re.compile(
    r"^(?:(?:cdef )?class (\w+)|(?:cdef|ctypedef) (?:packed )?(?:struct|enum|union) (\w+)"
    r"|(?:cdef|cpdef|def)\b(?! (?:class|extern)\b)[^=(\n]*?(\w+)\("
    r"|cdef [\w ]+?[ *]+(\w+)(?: *=|$)|([A-Za-z]\w*) *=[^=])",
    re.M,
)
_DECLARED = re.compile(r" +(cdef )?(?:[\w.]+ )*[\w.]+[ *]+(\w+(?:\[\w*\])?(?:, *\*?\w+)*)$")
_EXTERN = re.compile(r"^cdef extern [^\n]*\n(?:(?: [^\n]*)?\n)*", re.M)
_STRUCT = re.compile(r"\bstruct \w*\s*\{(.*?)\}", re.S)
_CYTHON_STRUCT = re.compile(r"( *)(?:cdef |ctypedef )?(?:packed )?struct \w+[^:\n]*:")


class Function(NamedTuple):
    name: str
    line: int
    length: int
    end: int


class Class(NamedTuple):
    name: str
    line: int
    bases: tuple[str, ...]
    methods: frozenset[str]
    fields: dict[str, str]  # those of a `cdef class`, with their types
    end: int


def code(text, suffix, *, texts=False):
    """Blank comments and, unless `texts`, string literals; what f-strings name stays."""

    def blanked(match):
        inner = match["text"]
        if inner is not None and texts:
            return inner
        quotes = '""' if inner is not None else ""
        if inner and suffix not in C and "f" in (match["prefix"] or "").lower():
            quotes += " ".join(_PLACEHOLDER.findall(inner))
        return quotes + "\n" * match[0].count("\n")

    return re.sub(_WORDS[suffix in C], blanked, text, flags=re.S)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def functions(text, suffix):
    """Return every function with a body, with its length in lines of code."""
    if suffix in PYTHON:
        return list(_python_functions(text))
    return list(_c_functions(text) if suffix in C else _cython_functions(text))


def _count(lines):
    return sum(line.strip() not in ("", '""') for line in lines)


def _python_functions(text):
    lines = code(text, ".py", texts=True).splitlines()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = _count(lines[node.lineno - 1 : node.end_lineno])
            if ast.get_docstring(node) is not None:
                doc = node.body[0]
                length -= _count(lines[doc.lineno - 1 : doc.end_lineno])
            yield Function(node.name, node.lineno, length, node.end_lineno)


def _cython_functions(text):
    lines = code(text, ".pyx").splitlines()
    for number, line in enumerate(lines):
        if match := _FUNCTION.match(line):
            end = end_of_block(lines, number)
            yield Function(match[2], number + 1, _count(lines[number:end]), end)


def end_of_block(lines, start):
    def indent(line):
        return len(line) - len(line.lstrip())

    for number in range(start + 1, len(lines)):
        line = lines[number]
        if line.strip() and indent(line) <= indent(lines[start]) and line.strip()[0] != ")":
            return number
    return len(lines)


def _c_functions(text):
    plain = code(text, ".c")
    for match in _C_FUNCTION.finditer(plain):
        names = re.findall(r"(\w+)\s*\(", match[1])
        name = next(name for name in names if name != "__attribute__")
        line, lines = line_of(plain, match.start()), match[0].splitlines()
        yield Function(name, line, _count(lines), line + len(lines) - 1)


def classes(text, suffix):
    """Return every class, with what it defines itself."""
    if suffix in C:
        return []
    lines = code(text, suffix).splitlines()
    return [
        _class(lines, number, match)
        for number, line in enumerate(lines)
        if (match := _CLASS.match(line))
    ]


def _class(lines, start, match):
    end = end_of_block(lines, start)
    inner = len(match[1]) + 4
    own = [line[inner:] for line in lines[start:end] if line[:inner].isspace()]
    methods = {
        found[2] for line in own if (found := _FUNCTION.match(line)) and not found[1]
    }
    bases = tuple(re.findall(r"\w+", match[3] or ""))
    fields = {}
    if "cdef" in match[0]:
        fields = _fields(line for line in own if line.startswith("cdef"))
    return Class(match[2], start + 1, bases, frozenset(methods), fields, end)


def _fields(lines):
    found = (match for line in lines if (match := _FIELD.match(line)))
    return {name: (m[1] or "") + m[2] for m in found for name in re.findall(r"\w+", m[3])}


def definitions(text):
    """Return the top-level names of Cython text: classes, functions, structs, variables."""
    return {
        next(filter(None, match.groups()))
        for match in _DEFINED.finditer(code(text, ".pyx"))
    }


def free_names(text):
    """Return the names that Cython text uses and does not bind itself, with a line of each.

    A parameter, a local variable, a method and a field may be called as what is elsewhere.
    """
    rows = _EXTERN.sub(
        lambda match: "\n" * match[0].count("\n"), code(text, ".pxi")
    ).splitlines()
    bound = {}
    for function in _cython_functions(text):
        inner = rows[function.line - 1 : function.end]
        for number in range(function.line, function.end + 1):
            bound.setdefault(number, set()).update(_bound(inner))
        if inner[0].startswith(" "):
            bound[function.line].add(function.name)
    free = {}
    for number, row in enumerate(rows, 1):
        for name in re.findall(r"(?<![\w.])[A-Za-z]\w*", row):
            if name not in bound.get(number, _declared(row)):
                free.setdefault(name, number)
    return free


def _declared(row, *, is_local=False):
    """Return the names that an indented line declares: fields, members, and locals."""
    match = _DECLARED.match(row.split("=")[0].rstrip())
    return (
        set(re.findall(r"\w+", match[2])) if match and (match[1] or not is_local) else set()
    )


def _bound(rows):
    text = "\n".join(rows)
    header = re.match(r".*?(?::\s*?$|\Z)", text.partition("(")[2], re.M | re.S)[0]
    names = set(re.findall(r"(\w+)\s*(?=[,)=])", header))
    names.update(re.findall(r"(?<![\w.])(\w+) *=(?!=)", text))
    names.update(*(_declared(row, is_local=True) for row in rows))
    for targets in re.findall(r"^ *([\w, ]+) =|\bfor ([\w, ]+) in|\bas (\w+)", text, re.M):
        names.update(re.findall(r"\w+", " ".join(targets)))
    return names.difference(*(row.split()[1:] for row in rows if "global " in row))


def struct_fields(text, suffix):
    """Return what the structs in the text call their members."""
    plain = code(text, suffix)
    if suffix in C:
        bodies = _STRUCT.findall(plain)
    else:
        lines = plain.splitlines()
        bodies = [
            "\n".join(lines[number + 1 : end_of_block(lines, number)])
            for number, line in enumerate(lines)
            if _CYTHON_STRUCT.match(line)
        ]
    return {
        name for body in bodies for name in re.findall(r"(\w+)(?=\s*[,;\n\[)]|$)", body)
    }


def head(text, suffix):
    """Return the docstring or the first comment, as one line of text."""
    if suffix in PYTHON:
        return " ".join((ast.get_docstring(ast.parse(text)) or "").split())
    start = re.match(r'\s*(/\*.*?\*/|(?:#[^\n]*\n)+|"""(?:.*?)""")', text, re.S)
    return (
        " ".join(re.sub(r"(?m)^[ \t]*[#*]|/\*|\*/", " ", start[1]).split()) if start else ""
    )
