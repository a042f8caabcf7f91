/* What the three chats have in common. `page` is all that their own scripts need. */
const page = (() => {
    "use strict";

    const LINES_KEPT = 500;
    const STATES = {
        connecting: "Connecting…",
        connected: "Connected",
        waiting: "Waiting to reconnect…",
    };

    const options = document.getElementById("chat").dataset;
    const state = document.getElementById("state");
    const billboard = document.getElementById("billboard");
    const composer = document.getElementById("composer");
    const field = document.getElementById("text_message");
    const problem = document.getElementById("problem");

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

    let follows = true;                 // who reads further up is left in peace
    let known_size = "";

    function size() {
        return `${billboard.clientWidth} x ${billboard.clientHeight}`;
    }

    function look() {
        if (size() === known_size) {    // else it was not the reader who has moved
            follows = is_at_bottom();
        }
    }

    function follow() {
        if (follows) {
            billboard.scrollTop = billboard.scrollHeight;
        }
    }

    billboard.addEventListener("scroll", look);

    // a phone is turned, and its keyboard comes and goes
    new ResizeObserver(() => {
        known_size = size();
        follow();
    }).observe(billboard);

    function show_message(text) {
        look();
        billboard.append(line(text));
        while (billboard.childElementCount > LINES_KEPT) {
            billboard.firstElementChild.remove();
        }
        follow();
    }

    /* Posts the form to this page's view, with Django's token against forgery. */
    async function post_form() {
        const answer = await fetch(location.pathname, {method: "POST", body: new FormData(composer)});
        if (!answer.ok || answer.redirected) {
            throw new Error(answer.redirected ? "you are logged out" : `the server said ${answer.status}`);
        }
    }

    /* `send` gets the text, and may throw or fail. Enter and the button both submit. */
    function on_submit(send) {
        composer.addEventListener("submit", async evt => {
            evt.preventDefault();
            field.focus();
            const text = field.value;
            if (!text.trim()) {
                return;
            }
            problem.textContent = "";
            try {
                const sending = send(text);
                field.value = "";
                await sending;
            } catch (error) {
                field.value = field.value || text;
                problem.textContent = `Not sent: ${error.message}`;
            }
        });
    }

    return {
        websocket_uri: options.uri,
        heartbeat_msg: JSON.parse(options.heartbeat),
        show_state,
        show_message,
        post_form,
        on_submit,
    };
})();
