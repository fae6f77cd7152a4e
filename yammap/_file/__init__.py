"""The file object: ways to open one, positions and lines, records, the page cache.

Knows paths, modes and NumPy's arrays of bytes. It must not know an address: what touches
memory is in `yammap._core`.
The reasons are in ``docs/design/file.md``.
"""
