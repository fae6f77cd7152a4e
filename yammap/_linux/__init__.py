"""The kernel, declared: system calls, constants, limits.

Knows what Linux offers and how a C compiler spells it. It must not know what a mapping is.
The reasons are in ``docs/design/linux.md``.
"""
