"""The parts of ``uwsgi_runserver``."""
