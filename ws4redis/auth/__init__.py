"""Authentication (``authenticators``), the page's ``origin``, ``permissions`` and ``limits``."""
