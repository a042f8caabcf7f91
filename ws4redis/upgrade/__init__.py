"""From the request to the websocket: the steps of admission, and what is answered and logged where one rejects."""
