"""For ``manage.py runserver`` with the servers of ``wsgi_apps``."""

from tests.site06.settings import *  # noqa: F403

WSGI_APPLICATION = "tests.site06.wsgi_apps.application"
