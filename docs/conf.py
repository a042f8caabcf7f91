"""Builds these pages: `make docs`."""

import sys
from pathlib import Path

from django.conf import settings

sys.path.insert(0, str(Path(__file__).parent.parent))
settings.configure()

from ws4redis import __version__  # noqa: E402

project = "ws4redis"
release = __version__
html_title = f"ws4redis {release}"
html_show_copyright = False
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["phone.css"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "samples"]
# pages link to headings of each other
myst_heading_anchors = 3

# servers that the reader starts
linkcheck_ignore = [r"http://(127\.0\.0\.1|localhost):"]

# exist inside uWSGI only
autodoc_mock_imports = ["gevent", "uwsgi"]
autodoc_member_order = "bysource"
autodoc_typehints = "description"
