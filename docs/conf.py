"""Sphinx configuration: MyST pages, pages generated from docstrings, pictures drawn by tracetorch.plot."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import catalogue  # noqa: E402
import pictures  # noqa: E402

import tracetorch  # noqa: E402

project = "tracetorch"
author = "tracetorch contributors"
copyright = author
version = release = tracetorch.__version__

extensions = ["myst_nb", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"
exclude_patterns = ["_build", "jupyter_execute"]
nitpicky = True

html_theme = "furo"
html_title = "tracetorch"
html_static_path = ["_static"]
html_css_files = ["tracetorch.css"]
html_show_copyright = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#1f6fb4", "color-brand-content": "#1f6fb4"},
    "dark_css_variables": {"color-brand-primary": "#7ab8e8", "color-brand-content": "#7ab8e8"},
}
pygments_style = "friendly"
pygments_dark_style = "native"
copybutton_prompt_text = "$ "


def setup(app):
    """Write what is generated before Sphinx looks for pages."""
    app.connect("builder-inited", lambda app: catalogue.write(HERE / "reference"))
    app.connect("builder-inited", lambda app: catalogue.copy_notebooks(HERE / "reference" / "notebooks"))
    app.connect("builder-inited", lambda app: pictures.write(HERE / "reference" / "pictures"))
