const chat = new WS4Redis({
    uri: page.websocket_uri + "foobar?subscribe-user",
    heartbeat_msg: page.heartbeat_msg,
    connecting: () => page.show_state("connecting"),
    connected: () => page.show_state("connected"),
    disconnected: () => page.show_state("waiting"),
    receive_message: page.show_message,
});

// out through the view, which publishes
page.on_submit(() => page.post_form());
