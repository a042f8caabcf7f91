"""What ``uwsgi_runserver`` is made of."""
