/* For the tests in a real browser: a client, and a log of all that it tells the page. */
"use strict";

const log = [];
let client = null;

function socket_uri(path) {
    return `ws://${location.host}/ws/${path}`;
}

function start(options) {
    client = new WS4Redis({
        connecting: () => log.push("connecting"),
        connected: () => log.push("connected"),
        disconnected: (evt, retry) => log.push(`disconnected ${evt.code}${retry === null ? " for good" : ""}`),
        receive_message: text => log.push(text),
        ...options,
    });
}

function listen(path, heartbeat_msg = null) {
    start({uri: socket_uri(path), heartbeat_msg});
}

/* `ticket` is the path of a file that has the ticket. */
function listen_with_ticket(path, ticket) {
    start({uri: async () => {
        const response = await fetch(ticket, {cache: "no-store"});
        return socket_uri(`${path}&token=${await response.text()}`);
    }});
}
