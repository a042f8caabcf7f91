uwsgi uwsgi.ini
