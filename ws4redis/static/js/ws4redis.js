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
var WS4Redis = (function () {
    "use strict";

    const CONNECTING = 0, OPEN = 1, CLOSING = 2, CLOSED = 3;
    const HEARTBEAT_INTERVAL = 5000;    // milliseconds, as all times here
    const MISSES_ALLOWED = 3;
    const FAREWELL_TIME = 2000;
    const LONGEST_DELAY = 30000;
    const QUEUE_LIMIT = 100;

    // Close codes of the server. The first would come again after any reconnect: the page sends
    // what the server cannot take. Who has violated a policy may return, but not soon.
    const FINAL_CODES = [1002, 1003, 1007, 1009];
    const POLICY_VIOLATION = 1008;

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

    // The second argument of old, jQuery, may still be passed; nothing needs it.
    function WS4Redis(options) {
        if (!(this instanceof WS4Redis)) {
            return new WS4Redis(options);
        }
        options = Object.assign({heartbeat_msg: null}, options);
        if (options.uri === undefined) {
            throw new Error("WS4Redis: the option 'uri' is missing");
        }

        const page = typeof window === "object" && window.addEventListener ? window : null;
        const queue = [];
        let socket = null;      // null while there is none, that is before, between and after
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

        function connect() {
            notify("connecting");
            if (finished) {
                return;
            }
            try {
                socket = new WebSocket(options.uri);
            } catch (error) {
                if (error.name === "SyntaxError") {     // a malformed URL never heals
                    finish();
                    throw error;
                }
                report(error);
                schedule_retry();
                return;
            }
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
            notify("disconnected", evt);
            if (!finished) {
                schedule_retry(evt.code);
            }
        }

        // An abandoned socket may live on for a minute. Nobody listens to it any more.
        function forget_socket() {
            stop_heartbeat();
            socket.onopen = socket.onmessage = socket.onclose = null;
            socket = null;
        }

        function schedule_retry(code) {
            let delay;
            if (code === POLICY_VIOLATION) {
                attempt = Infinity;     // further failures keep the longest range
                delay = LONGEST_DELAY;
            } else {
                delay = Math.random() * Math.min(LONGEST_DELAY, 1000 * (2 ** attempt - 1));
            }
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

        function on_pageshow(evt) {
            if (evt.persisted) {        // back from the back/forward cache
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
            const evt = new CloseEvent("close", {code: 1006, reason: "heartbeats unanswered"});
            farewell_timer = setTimeout(on_close, FAREWELL_TIME, evt);
        }

        function finish() {
            finished = true;
            queue.length = 0;
            stop_heartbeat();
            cancel_retry();
        }

        function get_state() {
            return socket ? socket.readyState : CLOSED;
        }

        function send_message(message) {
            if (finished) {
                throw new Error("WS4Redis: closed for good, cannot send");
            }
            if (get_state() === OPEN) {
                socket.send(message);
            } else if (queue.length < QUEUE_LIMIT) {
                queue.push(message);
            } else {
                throw new Error(`WS4Redis: offline, the queue of ${QUEUE_LIMIT} messages is full`);
            }
        }

        function close() {
            finish();
            if (socket) {
                socket.close();
            }
        }

        this.send_message = send_message;
        this.get_state = get_state;
        this.is_connecting = () => get_state() === CONNECTING;
        this.is_connected = () => get_state() === OPEN;
        this.is_closing = () => get_state() === CLOSING;
        this.is_closed = () => get_state() === CLOSED;
        this.close = close;

        connect();
    }

    return WS4Redis;
}());

if (typeof module === "object" && module.exports) {
    module.exports = WS4Redis;
}
