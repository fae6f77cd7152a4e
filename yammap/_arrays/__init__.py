"""Arrays in files: formats, where the elements lie, which file it is, and travelling.

Knows dtypes, shapes and file formats. It must not know how the bytes come into memory.
The reasons are in ``docs/design/arrays.md``.
"""
