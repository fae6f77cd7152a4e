"""The command line, and what it shows.

Knows the public names of yammap and the terminal. It must not know how a mapping works.
Only the command imports it.
The reasons are in ``docs/design/cli-and-compat.md``.
"""
