"""What the fan-out costs: CPU per delivery and per connect, memory per idle socket.

``command`` reads the options and runs the rounds; ``scenarios`` are what is measured, on the ``subjects``: our server,
and the floor (``floor_program``) beside which it stands. ``crowd`` is the browsers, a process of its own
(``crowd_program``). ``wire`` is what is sent, ``arrivals`` whether it arrived, ``processes`` what the system knows
about a process, and ``results`` turns the rounds into a table.
"""
