/*
 * A page without a browser: the script runs in a global scope of its own, as by a script tag,
 * with a fake WebSocket, a fake clock and a Math.random that the test decides.
 */
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const vm = require("node:vm");

const SCRIPT = path.join(__dirname, "../../ws4redis/static/js/ws4redis.js");
const SOURCE = fs.readFileSync(SCRIPT, "utf8");

class Clock {
    constructor() {
        this.now = 0;
        this.timers = new Map();
        this.uncaught = [];
        this.last_id = 0;
    }

    start(action, delay = 0, args = [], every = null) {
        this.last_id += 1;
        this.timers.set(this.last_id, {action, delay, args, every, due: this.now + delay});
        return this.last_id;
    }

    stop(id) {
        this.timers.delete(id);
    }

    next() {
        return [...this.timers].sort(([, a], [, b]) => a.due - b.due)[0];
    }

    advance(milliseconds) {
        const end = this.now + milliseconds;
        for (let next = this.next(); next && next[1].due <= end; next = this.next()) {
            this.fire(...next);
        }
        this.now = end;
    }

    fire(id, timer) {
        this.now = timer.due;
        if (timer.every === null) {
            this.stop(id);
        } else {
            timer.due += timer.every;
        }
        try {
            timer.action(...timer.args);
        } catch (error) {
            this.uncaught.push(error);
        }
    }

    delays() {
        return [...this.timers.values()].map(timer => timer.delay);
    }
}

class FakeSocket {
    constructor(url) {
        this.url = url;
        this.readyState = 0;
        this.sent = [];
        this.close_calls = 0;
    }

    send(message) {
        if (this.readyState === 0) {
            throw new Error("InvalidStateError");
        }
        if (this.readyState === 1) {
            this.sent.push(message);
        }
    }

    close() {
        this.close_calls += 1;
        this.readyState = Math.max(this.readyState, 2);
    }

    // What the network does:

    emit(type, evt) {
        const handler = this[`on${type}`];
        if (handler) {
            handler.call(this, evt);
        }
    }

    opens() {
        this.readyState = 1;
        this.emit("open", {type: "open"});
        return this;
    }

    receives(data) {
        this.emit("message", {type: "message", data});
    }

    closes(code = 1006) {
        this.readyState = 3;
        this.emit("close", {type: "close", code});
    }
}

class FakeCloseEvent {
    constructor(type, {code, reason}) {
        Object.assign(this, {type, code, reason, wasClean: false});
    }
}

class FakeWindow {
    constructor() {
        this.listeners = new Set();
    }

    addEventListener(type, listener) {
        this.listeners.add({type, listener});
    }

    removeEventListener(type, listener) {
        this.listeners.forEach(entry => {
            if (entry.type === type && entry.listener === listener) {
                this.listeners.delete(entry);
            }
        });
    }

    dispatch(evt) {
        [...this.listeners].filter(({type}) => type === evt.type)
            .forEach(({listener}) => listener(evt));
    }
}

/* `globals` are added to the page's own; a name set to undefined is missing there. */
function open_page(globals = {}) {
    const clock = new Clock();
    const page = {
        clock,
        window: new FakeWindow(),
        sockets: [],
        chance: 1,              // what Math.random returns: a number or a function
        constructor_error: null,
        get socket() {
            return page.sockets[page.sockets.length - 1];
        },
    };

    class WebSocket extends FakeSocket {
        constructor(url) {
            if (page.constructor_error) {
                throw page.constructor_error;
            }
            super(url);
            page.sockets.push(this);
        }
    }

    const scope = Object.assign({
        Error,
        WebSocket,
        CloseEvent: FakeCloseEvent,
        window: page.window,
        setTimeout: (action, delay, ...args) => clock.start(action, delay, args),
        setInterval: (action, delay, ...args) => clock.start(action, delay, args, delay),
        clearTimeout: id => clock.stop(id),
        clearInterval: id => clock.stop(id),
    }, globals);
    vm.createContext(scope);
    scope.chance = () => (typeof page.chance === "function" ? page.chance() : page.chance);
    vm.runInContext("Math.random = chance", scope);
    page.load = () => vm.runInContext(SOURCE, scope, {filename: SCRIPT});
    page.load();
    page.scope = scope;
    page.WS4Redis = scope.WS4Redis;
    return page;
}

module.exports = {SCRIPT, open_page};
