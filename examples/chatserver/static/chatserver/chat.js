/* The broadcast chat: what is typed goes out through the websocket, what comes in is shown. */
(() => {
    "use strict";

    const LINES_KEPT = 500;
    const STATES = {
        connecting: "Connecting…",
        connected: "Connected",
        waiting: "Waiting to reconnect…",
        full: "Not sent: too many messages are waiting",
    };

    const options = document.getElementById("chat").dataset;
    const state = document.getElementById("state");
    const billboard = document.getElementById("billboard");
    const field = document.getElementById("text_message");

    function show_state(name) {
        state.dataset.state = name;
        state.textContent = STATES[name];
    }

    function element(name, text) {
        const created = document.createElement(name);
        created.textContent = text;     // text is text: others have written it
        return created;
    }

    function line(text) {
        const created = document.createElement("p");
        const time = new Date().toLocaleTimeString([], {hour: "2-digit", minute: "2-digit"});
        const message = element("span", text);
        message.className = "message";
        message.dir = "auto";
        created.append(element("time", time), message);
        return created;
    }

    function is_at_bottom() {
        return billboard.scrollHeight - billboard.scrollTop - billboard.clientHeight < 40;
    }

    function show_message(text) {
        const follow = is_at_bottom();  // who reads further up is left in peace
        billboard.append(line(text));
        while (billboard.childElementCount > LINES_KEPT) {
            billboard.firstElementChild.remove();
        }
        if (follow) {
            billboard.scrollTop = billboard.scrollHeight;
        }
    }

    const chat = new WS4Redis({
        uri: options.uri,
        heartbeat_msg: JSON.parse(options.heartbeat),
        connecting: () => show_state("connecting"),
        connected: () => show_state("connected"),
        disconnected: () => show_state("waiting"),
        receive_message: show_message,
    });

    // Enter and the button both submit
    document.getElementById("composer").addEventListener("submit", evt => {
        evt.preventDefault();
        field.focus();
        if (!field.value.trim()) {
            return;
        }
        try {
            chat.send_message(field.value);
            field.value = "";
        } catch {
            show_state("full");
        }
    });
})();
