"""Who is it (``authenticators``), from which page (``origin``), what may they do (``permissions``), and how often."""
