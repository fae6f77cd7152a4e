"""``python -m yammap``: the command line."""

from ._cli import main

main()
