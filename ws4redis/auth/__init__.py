"""Who is it (``identity``), from which page (``origin``), and what may he do (``permissions``)."""
