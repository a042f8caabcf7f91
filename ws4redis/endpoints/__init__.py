"""Endpoints: what answers on a websocket."""
