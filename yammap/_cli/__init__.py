"""The command line, and what it shows.

Knows the public names of yammap and the terminal. Nothing imports it but the command.
"""
