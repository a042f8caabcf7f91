/*
 * WS4Redis: the browser's end of ws4redis, websockets for Django without leaving WSGI.
 * It keeps one websocket open: reconnects, notices a dead network by heartbeats, and
 * holds back what is sent meanwhile. It needs no other library. Licence: MIT.
 *
 *     const chat = new WS4Redis({
 *         uri: WEBSOCKET_URI + "chat?subscribe-broadcast&publish-broadcast&echo",
 *         heartbeat_msg: WS4REDIS_HEARTBEAT,
 *         receive_message(text) { console.log(text); },
 *     });
 *     chat.send_message("Hello, World");
 */
(function () {
    "use strict";

    const CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3;
    const HEARTBEAT_INTERVAL = 5000;    // milliseconds, as all times here
    const MISSES_ALLOWED = 3;
    const FAREWELL_TIME = 2000;
    const LONGEST_DELAY = 30000;
    const QUEUE_LIMIT = 100;

    // Close codes of the server. The first would come again after any reconnect: the page sends
    // what the server cannot take. Who has violated a policy may return, but not soon. A server
    // that stops, restarts, or has too much to do, wants its browsers back one after the other.
    const FINAL_CODES = [1002, 1003, 1007, 1009];
    const POLICY_VIOLATION = 1008;
    const SPREAD_CODES = [1001, 1012, 1013];
    const SPREAD_ATTEMPT = 3;

    // Somebody else's exception: it belongs on the console, and must not stop us.
    function report(error) {
        if (typeof reportError === "function") {
            reportError(error);
        } else {
            setTimeout(() => { throw error; });
        }
    }

    function guarded(action) {
        try {
            action();
        } catch (error) {
            report(error);
        }
    }

    function close_event(code, reason) {
        return new CloseEvent("close", {code, reason});
    }

    function required(uri) {
        if (!uri) {
            throw new Error("WS4Redis: the option 'uri' is missing");
        }
        return uri;
    }

    // The second argument of old, jQuery, may still be passed; nothing needs it.
    function WS4Redis(options) {
        if (!(this instanceof WS4Redis)) {
            return new WS4Redis(options);
        }
        options = Object.assign({heartbeat_msg: null}, options);
        required(options.uri);

        const page = typeof window === "object" && window.addEventListener ? window : null;
        const queue = [];
        let socket = null;      // null while there is none, that is before, between and after
        let question = null;    // while options.uri() has not answered
        let finished = false;
        let attempt = 1;
        let retry_timer = null;
        let heartbeat_timer = null;
        let farewell_timer = null;
        let missed = 0;

        function notify(callback, ...args) {
            if (typeof options[callback] === "function") {
                guarded(() => options[callback](...args));
            }
        }

        function is_idle() {
            return !finished && !socket && !question && retry_timer === null;
        }

        function connect() {
            notify("connecting");
            if (!is_idle()) {           // connecting() has closed, or changed the address
                return;
            }
            if (typeof options.uri === "function") {
                ask();
                return;
            }
            try {
                open(options.uri);
            } catch (error) {
                if (error.name === "SyntaxError") {     // a malformed URL never heals
                    finish();
                    throw error;
                }
                failed(error);
            }
        }

        // close() and set_uri() drop the question. What fails here may succeed the next time.
        async function ask() {
            const mine = question = {};
            try {
                const uri = await options.uri();
                if (mine === question) {
                    open(uri);
                }
            } catch (error) {
                if (mine === question) {
                    failed(error);
                }
            }
        }

        function open(uri) {
            socket = new WebSocket(required(uri));
            question = null;
            socket.onopen = on_open;
            socket.onmessage = on_message;
            socket.onclose = on_close;
        }

        function on_open() {
            attempt = 1;
            start_heartbeat();
            queue.splice(0).forEach(message => guarded(() => socket.send(message)));
            notify("connected");
        }

        function on_message(evt) {
            if (options.heartbeat_msg && evt.data === options.heartbeat_msg) {
                missed = 0;
            } else {
                notify("receive_message", evt.data);
            }
        }

        function on_close(evt) {
            const given_up = farewell_timer !== null;
            forget_socket();
            if (FINAL_CODES.includes(evt.code) && !given_up) {
                finish();
            }
            lost(evt);
        }

        function failed(error) {
            question = null;
            report(error);
            lost(close_event(1006, "no connection begun"));
        }

        function lost(evt) {
            const delay = finished ? null : next_delay(evt.code);
            notify("disconnected", evt, delay);
            if (is_idle()) {            // disconnected() has neither closed nor changed the address
                schedule_retry(delay);
            }
        }

        // An abandoned socket may live on for a minute. Nobody listens to it any more.
        function forget_socket() {
            stop_heartbeat();
            socket.onopen = socket.onmessage = socket.onclose = null;
            socket = null;
        }

        function next_delay(code) {
            if (code === POLICY_VIOLATION) {
                attempt = Infinity;     // further failures keep the longest range
                return LONGEST_DELAY;
            }
            if (SPREAD_CODES.includes(code)) {
                attempt = Math.max(attempt, SPREAD_ATTEMPT);
            }
            return Math.random() * Math.min(LONGEST_DELAY, 1000 * (2 ** attempt - 1));
        }

        function schedule_retry(delay) {
            retry_timer = setTimeout(retry, delay);
            if (page) {
                page.addEventListener("online", retry);
                page.addEventListener("pageshow", on_pageshow);
            }
        }

        function cancel_retry() {
            clearTimeout(retry_timer);
            retry_timer = null;
            if (page) {
                page.removeEventListener("online", retry);
                page.removeEventListener("pageshow", on_pageshow);
            }
        }

        function retry() {
            cancel_retry();
            attempt += 1;
            connect();
        }

        // A page in the back/forward cache is frozen, and Chromium keeps its socket open. Whoever
        // leaves without such a cache is closed by the browser, with 1001.
        function on_pagehide(evt) {
            if (evt.persisted) {
                leave("page cached", LONGEST_DELAY);
                if (is_idle()) {
                    schedule_retry(LONGEST_DELAY);
                }
            }
        }

        function on_pageshow(evt) {
            if (evt.persisted) {        // back from that cache
                retry();
            }
        }

        function start_heartbeat() {
            if (options.heartbeat_msg) {
                missed = 0;
                heartbeat_timer = setInterval(beat, HEARTBEAT_INTERVAL);
            }
        }

        function stop_heartbeat() {
            clearInterval(heartbeat_timer);
            clearTimeout(farewell_timer);
            heartbeat_timer = farewell_timer = null;
        }

        function beat() {
            missed += 1;
            if (missed > MISSES_ALLOWED) {
                give_up();
            } else {
                socket.send(options.heartbeat_msg);
            }
        }

        // On a dead network nobody answers the closing handshake either, and browsers wait long.
        function give_up() {
            stop_heartbeat();
            socket.close();
            const evt = close_event(1006, "heartbeats unanswered");
            farewell_timer = setTimeout(on_close, FAREWELL_TIME, evt);
        }

        function finish() {
            finished = true;
            question = null;
            queue.length = 0;
            stop_heartbeat();
            cancel_retry();
            if (page) {
                page.removeEventListener("pagehide", on_pagehide);
            }
        }

        function get_state() {
            if (socket) {
                return socket.readyState;
            }
            return question ? CONNECTING : CLOSED;
        }

        function refuse_if_finished() {
            if (finished) {
                throw new Error("WS4Redis: closed for good");
            }
        }

        function send_message(message) {
            refuse_if_finished();
            if (get_state() === OPEN) {
                socket.send(message);
            } else if (queue.length < QUEUE_LIMIT) {
                queue.push(message);
            } else {
                throw new Error(`WS4Redis: offline, the queue of ${QUEUE_LIMIT} messages is full`);
            }
        }

        function set_uri(uri) {
            refuse_if_finished();
            options.uri = required(uri);
            queue.length = 0;           // it was meant for the old address
            attempt = 1;
            leave("new uri", 0);
            if (is_idle()) {            // disconnected() has neither closed nor come here, too
                connect();
            }
        }

        // Ends whatever there is: a wait, a question or a socket.
        function leave(reason, delay) {
            const left = socket;
            const begun = socket || question;
            cancel_retry();
            question = null;
            if (left) {
                forget_socket();
                left.close(1000, reason);
            }
            if (begun) {
                notify("disconnected", close_event(1000, reason), delay);
            }
        }

        function close() {
            finish();
            if (socket) {
                socket.close();
            }
        }

        this.send_message = send_message;
        this.set_uri = set_uri;
        this.get_state = get_state;
        this.is_connecting = () => get_state() === CONNECTING;
        this.is_connected = () => get_state() === OPEN;
        this.is_closing = () => get_state() === CLOSING;
        this.is_closed = () => get_state() === CLOSED;
        this.close = close;

        if (page) {
            page.addEventListener("pagehide", on_pagehide);
        }
        connect();
    }

    // As a module, too, this file sets the global name: ws4redis.module.js takes it from there.
    globalThis.WS4Redis = WS4Redis;
    if (typeof module === "object" && module.exports) {
        module.exports = WS4Redis;
    }
}());
