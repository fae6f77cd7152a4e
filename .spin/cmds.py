"""The commands of `spin`: what is typed often, with the options that it needs here.

The package is installed and not only built, since its tests look at it as users have it:
with its metadata, its console script, and not beside its sources (python -P).
"""

import sys

import click
from spin.cmds.util import run

PYTHON = [sys.executable, "-P", "-m"]

# Options that are not ours are those of what is called.
settings = {"ignore_unknown_options": True}
arguments = click.argument("arguments", nargs=-1)


@click.command()
def build():
    """Compile what has changed, and install it into this environment."""
    install = ["pip", "install", "--no-build-isolation", "--no-deps", "--force-reinstall"]
    run([*PYTHON, *install, "-Cbuild-dir=build", "."])


@click.command(context_settings=settings)
@arguments
@click.pass_context
def test(context, arguments):
    """Build, and run pytest with ARGUMENTS, as in `spin test tests/file -k seek`."""
    context.invoke(build)
    run([*PYTHON, "pytest", *arguments])


@click.command(context_settings=settings)
@arguments
@click.pass_context
def bench(context, arguments):
    """Build, and run `yammap bench` with ARGUMENTS."""
    context.invoke(build)
    run([*PYTHON, "yammap", "bench", *arguments])


@click.command()
def lint():
    """Check style and format, as the hooks of pre-commit do."""
    run([*PYTHON, "pre_commit", "run", "--all-files"])


@click.command()
def docs():
    """Build the documentation into build/docs; a warning is an error."""
    run([*PYTHON, "sphinx", "-W", "-n", "docs", "build/docs"])
