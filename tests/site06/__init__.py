"""A site as one of django-websocket-redis 0.6 would be: nothing here knows what came later."""
