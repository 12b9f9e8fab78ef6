"""Sphinx's settings. The source folder is the repository, so that a link which works there works on the site too."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from jetson import __version__  # noqa: E402

project = "Offramp"
author = "the authors of Offramp"
copyright = "the authors of Offramp, Apache-2.0"
version = release = __version__

root_doc = "docs/index"
include_patterns = ["docs/**.md", "examples/README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
exclude_patterns = [".*", "build", "dist", "runs", "tests", "**/_build", "**/__pycache__"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sitegen"]

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
default_role = "code"  # docstrings write code between single backticks
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "separated"
napoleon_numpy_docstring = False
napoleon_use_rtype = False
add_module_names = False
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"Offramp {version}"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#0b6e4f", "color-brand-content": "#0b6e4f"},
    "dark_css_variables": {"color-brand-primary": "#4cc38a", "color-brand-content": "#4cc38a"},
}
html_static_path = ["static"]
html_css_files = ["site.css"]
