"""What answers on a websocket."""
