# ruff: noqa: INP001 - Sphinx reads it as a file
"""How the documentation's site is built; `make docs` does it.

The source folder is the repository, so that every link between pages means the same on the site as
where the files are read as they stand. The pages are those that `include_patterns` names.
"""

from __future__ import annotations

import builtins
from typing import Any

from docutils.nodes import Text
from pygments.lexers import IniLexer, TextLexer
from sphinx.addnodes import desc, desc_signature, pending_xref
from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

import hubws

project = "hubws"
author = "the hubws contributors"
project_copyright = "MIT licence"
version = release = hubws.__version__

root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "benchmarks/*.md",
    "compliance/*.md",
    "examples/**.md",
    "fuzzing/README.md",
    "CHANGELOG.md",
]
exclude_patterns = [".*", "build", "**/build", "**/node_modules", "test-artefacts"]

extensions = ["myst_parser", "sphinx.ext.autodoc"]

# -- pages -----------------------------------------------------------------------------------------

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 4  # links to headings, by the names that they have in the files
suppress_warnings = ["myst.header"]  # a page that begins below its first level is an included part
highlight_language = "text"

html_theme = "furo"
html_title = f"hubws {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["_static/index.html"]
html_copy_source = False
html_show_sourcelink = False
html_show_search_summary = False  # which a page that is no server's may not fetch
html_show_sphinx = False
html_show_copyright = False
html_last_updated_fmt = None
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#17614f", "color-brand-content": "#17614f",
        "color-brand-visited": "#4a5f58",
    },
    "dark_css_variables": {
        "color-brand-primary": "#63c9ad", "color-brand-content": "#63c9ad",
        "color-brand-visited": "#9fc4b8",
    },
}  # fmt: skip
pygments_style = "tango"
pygments_dark_style = "github-dark"

# -- the reference ---------------------------------------------------------------------------------

nitpicky = True
nitpick_ignore_regex = [
    ("py:obj", ".*"),  # `anything` in a docstring; what is a public name is a link
    ("py:.*", r"(?!hubws\.)[a-z_]\w*\..*"),  # of other projects, whose indexes take a network
    ("py:class", r"hubws\..*|[A-Z]\w*"),  # not public; a test sees to the public names
]
default_role = "py:obj"
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "undoc-members": True}
maximum_signature_line_length = 70
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

DOCSTRINGS = Config(napoleon_custom_sections=[("Attributes", "params_style")])


def unlink_builtins(_: Any, page: Any) -> None:
    """Leave `bytes` a word: many an attribute has that name."""
    for reference in list(page.findall(pending_xref)):
        if reference.get("reftarget") in vars(builtins):
            reference.replace_self(Text(reference["reftarget"]))


def shorten_contents(_: Any, page: Any) -> None:
    """Leave attributes out of a page's contents: classes, their methods and functions are enough."""
    for description in page.findall(desc):
        if description["objtype"] in {"attribute", "property"}:
            for signature in description.findall(desc_signature):
                signature["_toc_name"] = ""


def read_docstring(
    _: Any, what: str, name: str, value: object, options: object, lines: list[str]
) -> None:
    """Make reStructuredText of a docstring: its sections, and what is indented, which is a program."""
    shown: list[str] = []
    before = ""  # the last line that is not empty
    margin = ""  # of what stands between fences
    for line in lines:
        if line.strip() == "```":
            margin = "" if margin else "    "
            shown += ["", "::" if margin else "", ""]
            continue
        if line.startswith("    ") and before and not before.startswith(" ") and not shown[-1]:
            shown += [".. code-block:: python", ""]
        shown.append(margin + line)
        before = line or before
    if what not in {"attribute", "property"}:  # where it takes what is before a colon for a type
        shown = GoogleDocstring(shown, DOCSTRINGS, what=what).lines()
    lines[:] = shown


def setup(app: Any) -> None:
    """Take part in the build."""
    app.add_lexer("haproxy", TextLexer)
    app.add_lexer("sysctl", IniLexer)
    app.connect("doctree-read", unlink_builtins)
    app.connect("doctree-read", shorten_contents, priority=100)  # before the contents are made
    app.connect("autodoc-process-docstring", read_docstring)
