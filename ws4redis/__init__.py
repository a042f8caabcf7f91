"""Websockets for Django without leaving WSGI.

A site imports ``publisher``, ``subscriber``, ``uwsgi_runserver`` and the like; they stand on these floors, where
imports go downwards only:

=============  ====================================================================
``upgrade``    from a request to a websocket, step by step; ``uwsgi``: options, workers
``endpoints``  what answers on a websocket
``auth``       who sends a request, and what they may do
``loop``       the websockets of one process, and their subscriptions
``broker``     all that speaks to Redis
``core``       the nouns: channel, identity, publication, encoding, close code
``runtime``    sockets, time and concurrency, under gevent or threads
``protocol``   RFC 6455 and RFC 7692, bytes in and bytes out, no I/O
=============  ====================================================================
"""

__version__ = "1.0.0a1"
