"""Django, with the websockets in another uWSGI."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.site06.settings")
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
