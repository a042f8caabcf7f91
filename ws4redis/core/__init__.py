"""The nouns that all floors share; no I/O, and nothing of Django's requests or apps."""
