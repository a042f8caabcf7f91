"""What fan-out costs: CPU per delivery, per connect and per message of a browser, memory per socket, latency.

``command`` reads the options and runs the rounds, ``progress`` says how far they are. ``scenarios`` are what is
measured; ``lineup`` knows on whom. ``subjects`` has what all of them share, and our server; beside it stand the
``floor`` (``floor.c``), ``nchan`` and ``django_channels`` (``channels_site``). ``crowd`` is the browsers, a process of
its own (``crowd_program``). ``wire`` is what is sent, ``streams`` to whom, ``arrivals`` whether it arrived,
``processes`` what the system knows about a process. ``results`` turns the rounds into tables, ``bars`` says what is to
be reached, and ``picture`` draws it.
"""
