"""Sockets, time and concurrency; nothing of Redis or Django."""
