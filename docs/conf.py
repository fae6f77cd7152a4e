"""How Sphinx builds the documentation: ``sphinx-build -W -n docs build/docs``."""

import json
import re
import sys
from importlib.metadata import version as version_of
from os import fspath
from urllib.error import URLError
from urllib.request import urlopen

project = "yammap"
author = "the yammap developers"
copyright = f"2026, {author}"
release = version = version_of("yammap")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.intersphinx",
    "sphinx.ext.viewcode",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown", ".ipynb": "markdown"}
templates_path = ["_templates"]


def reachable(inventory):
    """Tell whether an inventory can be read: a build works offline, too."""
    try:
        with urlopen(f"{inventory}objects.inv", timeout=3):  # noqa: S310
            return True
    except (URLError, TimeoutError, ConnectionError):
        return False


INVENTORIES = {
    "python": "https://docs.python.org/3/",
    "numpy": "https://numpy.org/doc/stable/",
}
intersphinx_mapping = {
    name: (url, None) for name, url in INVENTORIES.items() if reachable(url)
}

# Without the network there are no links to other projects; and a parameter may have the
# name of a module.
nitpick_ignore_regex = [("py:.*", r"(enum|io|mmap|numpy)\b.*|[A-Z]\w+Error")]
nitpick_ignore = [("py:obj", name) for name in sys.stdlib_module_names]

# In docstrings: a link where it is a name, else, as for a parameter, emphasis.
default_role = "autolink"
autodoc_typehints = "none"  # the docstrings tell types, with units and shapes
autosummary_generate = True
autosummary_generate_overwrite = True
numpydoc_show_class_members = False  # reference/*.rst lists them by subject
# All but: each has a See Also, a longer description, an example (which a property has
# not), and begins with a capital letter (where a property begins with its type).
numpydoc_validation_checks = {"all", "SA01", "ES01", "EX01", "SS02"}
# A tuple, documented field by field; a class of Cython, which does not tell its signature;
# and one that `shared` makes.
numpydoc_validation_exclude = {r"yammap\.Fault(\.\w+)?$", r"yammap\.(Mapping|Segment)$"}

highlight_language = "text"  # of literal blocks without a language
myst_enable_extensions = ["colon_fence", "substitution"]
myst_substitutions = {"release": release}
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "yammap"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_favicon = "_static/logo.svg"
html_show_sourcelink = False
html_theme_options = {
    "logo": {
        "text": "yammap",
        "image_light": "_static/logo.svg",
        "image_dark": "_static/logo.svg",
        "alt_text": "yammap, home",
    },
    "navbar_align": "left",
    "header_links_before_dropdown": 5,
    "navigation_with_keys": False,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "github-light",
    "pygments_dark_style": "github-dark",
}
html_sidebars = {"*": []}  # pages that stand alone have no section to go about in


def setup(app):
    """Tell Sphinx what to call."""
    app.connect("sphinx-click-process-description", typed)
    app.connect("source-read", notebook_as_markdown)


def notebook_as_markdown(app, name, source):
    """Put the Markdown of a notebook in its place; extensions for that need a Jupyter."""
    if fspath(app.env.doc2path(name)).endswith(".ipynb"):
        cells = json.loads(source[0])["cells"]
        source[0] = "\n\n".join(part for cell in cells for part in shown(cell))


def shown(cell):
    """Yield a cell of a notebook as Markdown, with what it printed and plotted."""
    text = "".join(cell["source"])
    yield text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
    for output in cell.get("outputs", ()):
        if "text" in output:
            yield f"```text\n{''.join(output['text'])}```"
        elif picture := output.get("data", {}).get("image/png"):
            yield f"![plot of the lines above](data:image/png;base64,{''.join(picture)})"


def typed(_app, _context, lines):
    """Put the lines that click leaves alone, its examples, into a literal block."""
    text = re.sub(r"^\| (\S.*):$", r"\1::\n", "\n".join(lines), flags=re.MULTILINE)
    lines[:] = re.sub(r"^\|", "", text, flags=re.MULTILINE).split("\n")
