"""How Sphinx builds the documentation: ``sphinx-build -W -n docs build/docs``."""

import re
import sys
from importlib.metadata import version as version_of

project = "yammap"
author = "the yammap developers"
copyright = f"2026, {author}"
release = version = version_of("yammap")

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

# Links to other projects would need their inventories, and so the network, at each build;
# and a parameter may have the name of a module.
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
# A tuple, documented field by field; a class of Cython, which does not tell its signature.
numpydoc_validation_exclude = {r"yammap\.Fault(\.\w+)?$", r"yammap\.Mapping$"}

highlight_language = "text"  # of literal blocks without a language
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "pydata_sphinx_theme"
html_title = "yammap"
html_static_path = ["_static"]
html_css_files = ["custom.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "yammap"},
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


def typed(_app, _context, lines):
    """Put the lines that click leaves alone, its examples, into a literal block."""
    text = re.sub(r"^\| (\S.*):$", r"\1::\n", "\n".join(lines), flags=re.MULTILINE)
    lines[:] = re.sub(r"^\|", "", text, flags=re.MULTILINE).split("\n")
