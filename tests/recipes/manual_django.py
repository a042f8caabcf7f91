"""As the manual of django-websocket-redis has it."""

import os

os.environ.update(DJANGO_SETTINGS_MODULE="tests.recipes.settings")
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
