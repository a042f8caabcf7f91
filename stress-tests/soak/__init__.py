"""Does every promise hold while everything breaks: browsers come, leave and stall, Redis and workers die and reload.

``command`` reads the options and tells the outcome. ``schedule`` makes of a seed what will happen. ``run`` lets it
happen: ``visitors`` are the browsers, ``publisher`` publishes, ``bans`` changes who is in which group, ``faults`` break
things and ``troubles`` knows which are broken, ``watch`` asks for health, ``site_log`` reads what the server says,
``lateness`` knows how busy the machine is. ``ledger`` knows what was published, and what each websocket must have got;
``promises`` is what is held to be true. All of it is one asyncio process, which a signal ends (``stopping``).
``website`` is the server, ``site`` what it serves.
"""
