"""The command line as a module's attribute, which is what sphinx-click wants."""

from yammap._cli import group

commands = group()
