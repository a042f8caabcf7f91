"""The websocket loop of one process.

``process`` owns the parts and knows them all; ``connection`` is one client's life; ``hub`` maps channels to members.
A publication's way::

    Redis -> broker.pubsub -> hub -> websocket -> client
"""
