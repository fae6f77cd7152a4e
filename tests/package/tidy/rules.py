"""What a source tree must keep to: each rule takes its root, and returns complaints.

A complaint names file and line, what is wrong, and the limit. Its subject has no line, so
that a list of what is not mended yet outlives edits.
"""

import ast
import re
from collections import Counter
from itertools import chain, pairwise
from typing import NamedTuple

import sources

FUNCTION_LINES = 45
TEST_LINES = 60
FILE_LINES = 700
METHODS = 40

# Some may be longer: the one class that everything else is split from, and its methods.
FILES = {"yammap/_core.pyx": 1500}

# From below. A room knows what lies on floors below its own, and not its neighbours.
FLOORS = (
    ("_errors",),
    ("_linux",),
    ("_sigbus", "_queue"),
    ("_memory", "_extent"),
    ("_core",),
    ("_file",),
    ("_arrays",),
    ("compat", "plot"),
    ("__init__",),
    ("_cli",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}

# Methods of one class in several files; the command, which is all that imports _cli; and
# what `yammap bench` runs, whose source is benchmarks/.
SAME_ROOM = {"_mapping": "_core", "__main__": "_cli", "_bench": "_cli"}

# Fields that others may read, and classes whose fields they may name.
READABLE = ("public", "readonly")
SHOWN = {
    "PinnedMemory": "the core's door for other extension modules, read between two calls",
}

# Fields with an object, or classes, that are read outside of a guard, and why they may be.
_ALONE = "one thread at a time has the object"
_ONCE = "set before any other thread has the object, and never again"
SETTLED = {
    "Mapping.memory": _ONCE,
    "Mapping.extent": _ONCE,
    "Positioned._turn": f"{_ONCE}, but in a forked child",
    "Turn.lock": "set once, under the guard of whoever reads it first",
    "Generations.keepers": "set once, under a guard; a set's own methods are guarded",
    "Generations.closed_text": _ONCE,
    "Region.name": "a former name is kept, so a reference to it can be taken any time",
    "View.region": _ONCE,
    "Kept.memory": _ONCE,
    "Guard.memory": _ONCE,
    "Guard.mapping": _ONCE,
    "Default.text": _ONCE,
    "PinnedMemory": _ALONE,
    "Queue": _ALONE,
    "FileToRead.choice": _ONCE,
    "Files": _ALONE,
    "Many": _ALONE,
    "Batch": f"{_ALONE}, but for `stop`, which sets a number",
}

# Modules, or whole rooms, without a test of their name: where they are tested instead.
UNTESTED = {
    "_sigbus": "tests/faults has them by case, and sigbus/test_races.py all at once",
    "_queue": "file/test_queue.py has each kind of queue, by the batches that use it",
    "compat": "one class to its users: compat/test_compat.py and test_stdlib.py",
}

# Files that are named and are not in the tree: users' programs, and the kernel's headers.
ELSEWHERE = (
    "train.py",
    "llm.c",
    "preprocess_data.py",
    "linux/mman.h",
    "linux/stat.h",
    "asm-generic/mman-common.h",
)

# Words that have been replaced, and say less than what stands in their place.
GONE = {
    "elders": "older_regions",
    "blank_from": "zeros_from",
    "adopt(": "publish(",
    "overtaken": "that a truncation came meanwhile",
    "open_to": "the length below which an append takes no mutex",
    "withheld": "dontfork",
    "to be had": "what is or is not available",
    "for want of": "'because there is no'",
    "him": "who it is: the thread, the process, the kernel, the caller",
    "who takes": "who it is: the thread, the process, the kernel, the caller",
    "so many": "'this many', or the number",
}

_CIMPORT = re.compile(
    r"^(?P<lead> *)(?:from +(?P<module>[\w.]+) +c?import +(?P<names>\([^)]*\)|[^\n]+)"
    r"|c?import +(?P<modules>[\w., ]+))",
    re.M,
)
_INCLUDE = re.compile(
    r'^(?P<lead> *)(?:#|cdef +)?(?:include|extern +from) *"(?P<file>[^"]+)"', re.M
)
_ATTRIBUTE = re.compile(
    r"(?:<(?P<cast>\w+)> *)?(?P<of>\w*)\)*\.(?=(?P<field>[A-Za-z_]\w*)"
    r"(?P<assigned>(?:\[[^\]]*\])? *(?:[-+*/|&%^]|<<|>>|//)?=(?!=))?)"
)

_FILE = re.compile(
    r"(?<![\w./{}*<-])(?:[\w.-]+/)*[\w-]+\.(?:pyx|pxi|pxd|pyi|py|c|h|md|rst)(?![\w*(/])"
)


class Complaint(NamedTuple):
    subject: str
    place: str
    number: int
    text: str

    def __str__(self):
        return f"{self.place}: {self.text}"


def files(root, *suffixes, folder="yammap"):
    return sorted(p for p in (root / folder).rglob("*") if p.suffix in suffixes)


def texts(root, *suffixes, folder="yammap"):
    for path in files(root, *suffixes, folder=folder):
        yield path, path.relative_to(root).as_posix(), path.read_text()


def room_of(name):
    """Return the room of a file, from its path below the root."""
    folder, _, rest = name.partition("/")
    room = "_bench" if folder == "benchmarks" else rest.partition("/")[0].partition(".")[0]
    return SAME_ROOM.get(room, room)


def may_know(room, other):
    return room == other or FLOOR[other] < FLOOR[room]


# -- Length

SOURCE = (".py", ".pyx", ".pxi", ".c", ".h")


def long_functions(root):
    for path, name, text in texts(root, *SOURCE):
        for function in sources.functions(text, path.suffix):
            yield from _too_long(name, function, FUNCTION_LINES)


def long_tests(root):
    for path, name, text in texts(root, ".py", folder="tests"):
        for function in sources.functions(text, path.suffix):
            if function.name.startswith("test_"):
                yield from _too_long(name, function, TEST_LINES)


def _too_long(name, function, limit):
    if function.length > limit:
        yield Complaint(
            f"{function.name} in {name}",
            f"{name}:{function.line}",
            function.length,
            f"{function.name} has {function.length} lines of code, more than {limit}: "
            f"split it by what each part does",
        )


def long_files(root):
    for _, name, text in texts(root, *SOURCE, ".pxd", ".pyi"):
        count, limit = text.count("\n"), FILES.get(name, FILE_LINES)
        if count > limit:
            yield Complaint(
                name,
                f"{name}:{limit + 1}",
                count,
                f"the file has {count} lines, more than {limit}: split it by what it knows",
            )


def large_classes(root):
    for path, name, text in texts(root, ".py", ".pyx", ".pxi"):
        for kind in sources.classes(text, path.suffix):
            count = len(kind.methods)
            if count > METHODS:
                yield Complaint(
                    f"class {kind.name}",
                    f"{name}:{kind.line}",
                    count,
                    f"class {kind.name} has {count} methods, more than {METHODS}: "
                    f"let functions, or a class of their own, have some",
                )


# -- Direction


def imports_upwards(root):
    for path, name, text in chain(_modules(root), texts(root, ".py", folder="benchmarks")):
        if "/test_" in name or "/conftest" in name:
            continue
        for line, target in sorted(_targets(name, text, path.suffix)):
            yield from _judge(name, line, target)


def _modules(root):
    return texts(root, *SOURCE, ".pyi", ".pxd")


def _judge(name, line, target):
    room, place = room_of(name), f"{name}:{line}"
    for unknown in sorted({room, target} - FLOOR.keys()):
        yield Complaint(
            f"room {unknown}",
            place,
            1,
            f"room {unknown} has no floor: give it one in FLOORS",
        )
    if {room, target} <= FLOOR.keys() and not may_know(room, target):
        yield Complaint(
            f"{name} imports {target}",
            place,
            1,
            f"{room} imports {target}, which is not below it: move what it needs down",
        )


def _targets(name, text, suffix):
    """Yield line and room for each import of ours."""
    if suffix in sources.PYTHON:
        found = _python_imports(text)
    else:
        found = chain(_included(text, suffix), _cython_imports(text, suffix))
    package = _package(name, suffix)
    for line, module in found:
        level = len(module) - len(module.lstrip("."))
        parents = package[: len(package) - level + 1] if level else []
        parts = [*parents, *filter(None, module.split("."))]
        if parts[0] == "yammap":
            room = parts[1] if len(parts) > 1 else "__init__"
            yield line, SAME_ROOM.get(room, room)


def _package(name, suffix):
    if name.startswith("benchmarks/"):
        return ["yammap", "_bench"]
    # A .pxi is a part of the module that includes it, which is _core.
    return ["yammap", *name.split("/")[1:-1]] if suffix != ".pxi" else ["yammap"]


def _python_imports(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names = [alias.name for alias in node.names]
            yield from ((node.lineno, found) for found in _imported(module, names))


def _cython_imports(text, suffix):
    plain = sources.code(text, suffix).replace("\\\n", " \n")
    for match in _CIMPORT.finditer(plain if suffix not in sources.C else ""):
        line = sources.line_of(plain, match.end("lead"))
        if match["modules"]:
            yield from (
                (line, module) for module in re.findall(r"[\w.]+", match["modules"])
            )
        else:
            names = re.findall(r"\w+", match["names"])
            yield from ((line, found) for found in _imported(match["module"], names))


def _imported(module, names):
    """Yield the modules that are meant: `from .. import _core` means yammap._core."""
    if module.strip(".") not in ("", "yammap"):
        yield module
        return
    for name in names:
        dot = "." if module == "yammap" else ""
        yield f"{module}{dot}{name}" if SAME_ROOM.get(name, name) in FLOOR else module


def _included(text, suffix):
    plain = sources.code(text, suffix, texts=True)
    for match in _INCLUDE.finditer(plain):
        room = re.sub(r"^(\.\./)+", "", match["file"]).partition("/")[0].partition(".")[0]
        if SAME_ROOM.get(room, room) in FLOOR or room.startswith("_"):
            yield sources.line_of(plain, match.end("lead")), f"yammap.{room}"


def names_upwards(root):
    """Judge what the compiler cannot: one module is made of the .pxi of several rooms."""
    module = [found for found in texts(root, ".pyx", ".pxi") if _is_of_core(found[1])]
    defined = [(room_of(name), sources.definitions(text)) for _, name, text in module]
    for _, name, text in module:
        free = sources.free_names(text)
        for other, names in defined:
            if not may_know(room_of(name), other):
                for upper in sorted(names & free.keys()):
                    yield Complaint(
                        f"{name} names {upper}",
                        f"{name}:{free[upper]}",
                        1,
                        f"{upper} is defined in {other}, which is not below: move it down",
                    )


def _is_of_core(name):
    floor = FLOOR.get(room_of(name), len(FLOORS))
    return name == "yammap/_core.pyx" or (name.endswith(".pxi") and floor <= FLOOR["_core"])


# -- Fields


class Kinds:
    """The extension types of a tree: in which room each is, and what it has."""

    def __init__(self, cython):
        self.rooms, self.bases, self.fields, self.methods = {}, {}, {}, {}
        others = set()
        for path, name, text in cython:
            others |= sources.struct_fields(text, path.suffix)
            for kind in sources.classes(text, path.suffix):
                self._learn(kind, room_of(name), path.suffix == ".pxd")
        every = [name for fields in self.fields.values() for name in fields]
        self.alone = {name for name in every if every.count(name) == 1} - others

    def _learn(self, kind, room, is_declared_only):
        if not is_declared_only or kind.name not in self.rooms:
            self.rooms[kind.name] = room
        self.bases.setdefault(kind.name, kind.bases)
        self.fields.setdefault(kind.name, {}).update(kind.fields)
        self.methods.setdefault(kind.name, set()).update(kind.methods)

    def owner(self, kind, field):
        """Return the class, `kind` or one above it, that has the field, or None."""
        if field in self.fields.get(kind, ()) or field in self.methods.get(kind, ()):
            return kind
        owners = (self.owner(base, field) for base in self.bases.get(kind, ()))
        return next(filter(None, owners), None)

    def owners(self, receivers, field):
        """Return the classes whose `field` may be meant."""
        if field in self.alone:
            return {kind for kind, fields in self.fields.items() if field in fields}
        return {self.owner(kind, field) for kind in receivers} - {None}

    def of_field(self, name):
        """Return the extension types that fields of this name have."""
        types = (fields.get(name, "").split() for fields in self.fields.values())
        return {words[-1] for words in types if words and words[-1] in self.rooms}


def fields_elsewhere(root, shown=SHOWN):
    kinds = Kinds(texts(root, ".pyx", ".pxi", ".pxd", ".h", ".c"))
    found = [
        (f"{owner}'s fields {use} in {room_of(name)}", owner, field, f"{name}:{line}")
        for path, name, text in texts(root, ".pyx", ".pxi")
        for line, owner, field, use in _mentions(kinds, text, path.suffix)
        if kinds.rooms[owner] != room_of(name) and owner not in shown
    ]
    counts = Counter(subject for subject, *_ in found)
    for subject, owner, field, place in found:
        text = f"{field} is a field of {owner}, and the business of {kinds.rooms[owner]}"
        yield Complaint(
            subject, place, counts[subject], f"{text}: call what {owner} offers"
        )


def _mentions(kinds, text, suffix):
    """Yield line, class, field and use wherever a field is named that others may not."""
    for line, owner, field, use in _every_mention(kinds, text, suffix):
        is_for_all = kinds.fields[owner][field].startswith(READABLE)
        if use == "set" or not is_for_all:
            yield line, owner, field, use


def _every_mention(kinds, text, suffix):
    """Yield line, class, field and use wherever a field is named.

    Whose it is tells its name, or what the name before the dot is declared as.
    """
    rows = sources.code(text, suffix).splitlines()
    types = _types(kinds, text, suffix, rows)
    for line, row in enumerate(rows, 1):
        for match in _ATTRIBUTE.finditer(row):
            known = types.get(line, {}).get(match["of"])
            receivers = kinds.of_field(match["of"]) | {match["cast"], known}
            for owner in kinds.owners(receivers, match["field"]):
                if match["field"] in kinds.fields[owner]:
                    use = "set" if match["assigned"] else "read"
                    yield line, owner, match["field"], use


def _types(kinds, text, suffix, rows):
    """Return, for each line in a function, the extension types that its names have."""
    declared = re.compile(rf"\b({'|'.join(kinds.rooms) or '$'})\b (\w+)")
    within = sources.classes(text, suffix)
    types = {}
    for function in sources.functions(text, suffix):
        around = [k.name for k in within if k.line < function.line <= k.end]
        names = dict.fromkeys(["self"], *around[-1:])
        span = range(function.line, function.end + 1)
        for line in span:
            names |= {name: kind for kind, name in declared.findall(rows[line - 1])}
        types |= dict.fromkeys(span, names)
    return types


# -- Words


# -- Guards


# What holds a guard, and what a docstring says where the caller holds it.
_GUARD = re.compile(r" *with .*(?:(?P<section>critical_section\()|(?P<mutex>mutex\b)).*:")
_BY_CALLER = {
    "mutex": re.compile("caller holds the mutex"),
    "section": re.compile("caller (?:holds the mutex, or )?is in the section"),
}
_ALONE_IN = ("__cinit__", "__dealloc__")
_CALL = re.compile(r"(?:(?P<of>\w+)\.)?(?P<name>\w+)\(")
_OBJECTS = {"object", "list", "set", "dict", "tuple", "str", "bytes", "type"}


def objects_without_a_guard(root, settled=frozenset(SETTLED)):
    """Judge each field with an object: without a GIL, one that is read may be freed."""
    kinds = Kinds(texts(root, ".pyx", ".pxi", ".pxd", ".h", ".c"))
    for path, name, text in texts(root, ".pyx", ".pxi"):
        held = _held(text, path.suffix)
        rows = sources.code(text, path.suffix).splitlines()
        for line, owner, field, _ in _every_mention(kinds, text, path.suffix):
            subject = f"{owner}.{field}"
            is_test = re.search(rf"\.{field} is (?:not )?None", rows[line - 1])
            is_guarded = held[line] or is_test or {owner, subject} & settled
            if not is_guarded and _is_object(kinds, owner, field):
                what = f"{subject} is used outside of a critical section and of the mutex"
                yield Complaint(f"{subject} in {name}", f"{name}:{line}", 1, what)


def _is_object(kinds, owner, field):
    kind = kinds.fields[owner].get(field, "").split()
    return field != "__weakref__" and kind and kind[-1] in _OBJECTS | kinds.rooms.keys()


def _held(text, suffix):
    """Return, for each line, the guards that are held there, or that its caller holds."""
    rows = sources.code(text, suffix).splitlines()
    held = {line: set() for line in range(1, len(rows) + 1)}
    for line, row in enumerate(rows, 1):
        if match := _GUARD.match(row):
            for inner in range(line + 1, sources.end_of_block(rows, line - 1) + 1):
                held[inner].add(match.lastgroup)
    for function, guard in _by_caller(text, suffix):
        for inner in range(function.line, function.end + 1):
            held[inner].add(guard)
    return held


def _by_caller(text, suffix):
    """Yield functions with the guard that their callers hold."""
    rows = text.splitlines()
    for function in sources.functions(text, suffix):
        body = "\n".join(rows[function.line - 1 : function.end])
        said = " ".join(re.findall(r'"""(.*?)"""', body, re.S)[:1]).split()
        for guard, words in _BY_CALLER.items():
            if words.search(" ".join(said)) or function.name in _ALONE_IN:
                yield function, guard


def calls_without_a_guard(root):
    """Judge each call of a function whose docstring says which guard its caller holds."""
    read = list(texts(root, ".pyx", ".pxi"))
    kinds = Kinds(texts(root, ".pyx", ".pxi", ".pxd", ".h", ".c"))
    wanted = {}
    for path, _, text in read:
        for function, guard in _by_caller(text, path.suffix):
            if function.name not in _ALONE_IN:
                key = _class_around(text, path.suffix, function), function.name
                wanted.setdefault(key, set()).add(guard)
    for path, name, text in read:
        held = _held(text, path.suffix)
        for line, owner, called in _calls(kinds, text, path.suffix):
            guards = wanted.get((owner, called))
            if guards and not guards & held[line]:
                what = f"{called} is called without the guard that its docstring names"
                yield Complaint(f"{called} in {name}", f"{name}:{line}", 1, what)


def _class_around(text, suffix, function):
    within = sources.classes(text, suffix)
    around = [k.name for k in within if k.line < function.line <= k.end]
    return around[-1] if around else None


def _calls(kinds, text, suffix):
    """Yield line, class (None for a function) and name of whatever is called."""
    rows = sources.code(text, suffix).splitlines()
    types = _types(kinds, text, suffix, rows)
    for line, row in enumerate(rows, 1):
        for match in _CALL.finditer(row):
            if re.match(r" *(?:cdef|cpdef|def)\b", row):
                continue
            known = {types.get(line, {}).get(match["of"])} | kinds.of_field(match["of"])
            found = kinds.owners(known - {None}, match["name"]) if match["of"] else {None}
            for owner in found:
                yield line, owner, match["name"]


def rooms_without_a_head(root):
    for folder in sorted(p for p in (root / "yammap").iterdir() if p.is_dir()):
        heads = [
            sources.head(p.read_text(), p.suffix) for p in folder.iterdir() if _leads(p)
        ]
        said = [re.search(r"\bKnows\b.*\bmust not know\b", head) for head in heads]
        if heads and not any(said):
            yield Complaint(
                f"head of {folder.name}",
                f"yammap/{folder.name}",
                1,
                "no file says at its head: 'Knows ... It must not know ...'",
            )


def _leads(path):
    return path.name == "__init__.py" or path.suffix in (".h", ".pxi")


def glossary(root):
    terms = list(_terms(root / "docs/design/glossary.md"))
    for (before, _), (term, line) in pairwise(terms):
        fault = f"comes after {before!r}: sort it" if before != term else "is there twice"
        if before.casefold() >= term.casefold():
            yield Complaint(term, f"docs/design/glossary.md:{line}", 1, f"{term!r} {fault}")


def _terms(path):
    """Yield what begins a line of the directive, with the number of that line."""
    inside = False
    lines = path.read_text().splitlines() if path.exists() else []
    for number, line in enumerate(lines, 1):
        if line.startswith("```"):
            inside = line == "```{glossary}"
        elif inside and line and line[0] not in " :":
            yield line, number


def words_that_went(root):
    read = list(texts(root, *SOURCE, ".pxd", ".pyi"))
    for word, instead in GONE.items():
        pattern = _pattern(word)
        found = [(name, text, m) for _, name, text in read for m in pattern.finditer(text)]
        for name, text, match in found:
            place = f"{name}:{sources.line_of(text, match.start())}"
            yield Complaint(f"word {word}", place, len(found), f"{word!r}: write {instead}")


def _pattern(word):
    """Match it as a whole, and across the end of a line of a comment."""
    end = r"\b" if word[-1].isalnum() else ""
    return re.compile(r"\b" + r"[\s#*]+".join(map(re.escape, word.split())) + end, re.I)


# -- Tests and documents


def modules_without_a_test(root, untested=UNTESTED):
    for path, name, _ in texts(root, ".py", ".pyx", ".pxi", ".c"):
        module = name.removeprefix("yammap/")
        room, stem = module.partition("/")[0], path.stem.lstrip("_")
        if path.stem.startswith("__") or {room, module} & set(untested):
            continue
        folder = "*" if room == module else room.lstrip("_")
        if not any((root / "tests").glob(f"{folder}/test_{stem}.py")):
            where = f"tests/{folder}/test_{stem}.py".replace("/*/", "/.../")
            yield Complaint(module, name, 1, f"{where} is not there: test it by itself")


def files_that_are_not_there(root):
    """Judge the files that code and documents name, by the end of their paths."""
    folders = "yammap", "docs", "tests", "benchmarks", "examples"
    tree = [*root.iterdir(), *chain(*((root / name).rglob("*") for name in folders))]
    there = [f"/{path.relative_to(root).as_posix()}" for path in tree]
    documents = [*texts(root, ".md", ".rst", folder="docs"), *_documents_at(root)]
    for _, name, text in chain(texts(root, *SOURCE, ".pxd", ".pyi"), documents):
        for match in _FILE.finditer(text):
            file = re.sub(r"^(\.*/)+", "", match[0])
            if file not in ELSEWHERE and not any(p.endswith(f"/{file}") for p in there):
                place = f"{name}:{sources.line_of(text, match.start())}"
                yield Complaint(f"file {file}", place, 1, f"there is no file {file}")


def _documents_at(root):
    for path in (root / "README.md", root / "CONTRIBUTING.md", root / "SECURITY.md"):
        if path.exists():
            yield path, path.name, path.read_text()


RULES = (
    long_functions,
    long_tests,
    long_files,
    large_classes,
    imports_upwards,
    names_upwards,
    fields_elsewhere,
    objects_without_a_guard,
    calls_without_a_guard,
    rooms_without_a_head,
    glossary,
    words_that_went,
    modules_without_a_test,
    files_that_are_not_there,
)
