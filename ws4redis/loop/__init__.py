"""The websocket loop of one process.

``process`` owns the parts and knows them all; ``connection`` is one browser's life; ``hub`` knows who listens;
``pubsub`` is the one subscription; ``runtime`` is the port to gevent or threads. A publication's way::

    Redis -> pubsub -> hub -> connection -> websocket -> browser
"""
