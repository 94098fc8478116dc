"""How Sphinx makes a site of the folder above: the guides as they are, and a reference from the docstrings."""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "Budgeted Agents"
version = release = version_of("budgeted-agents")
root_doc = "index"
exclude_patterns = ["site"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

# Headings can be linked to, as they can where Markdown is read without a site.
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # signatures are typed, and the text says what is meant
autodoc_preserve_defaults = True
napoleon_use_ivar = True

html_theme = "furo"
html_title = f"Budgeted Agents {version}"
html_copy_source = False
