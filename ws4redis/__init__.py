"""Websockets for Django without leaving WSGI.

A map of the house, bottom to top; imports go downwards only:

========  ===========================================================================
protocol  RFC 6455, bytes in and bytes out, no I/O
words     ``channels``, ``publication``, ``core``, ``exceptions``, ``settings``
redis     ``redis_client`` <- ``redis_store`` <- ``publisher``, ``subscriber``
process   ``loop``: one subscription, who listens, what each browser is still owed;
          ``websocket``: one wire
door      ``auth`` (who is it), ``views`` (what happens on it), ``upgrade`` and ``wsgi_server``
faces     ``uwsgi_runserver`` on ``gevent_runtime``, ``django_runserver`` on ``thread_runtime``;
          ``context_processors``, ``apps``
========  ===========================================================================
"""

__version__ = "1.0.0a1"
