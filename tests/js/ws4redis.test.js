"use strict";

const assert = require("node:assert/strict");
const {describe, test} = require("node:test");

const {SCRIPT, open_page} = require("./page.js");

const URI = "ws://www.example.com/ws/foobar?subscribe-broadcast";
const HEARTBEAT = "--heartbeat--";
const TICK = 5000;
const FAREWELL = 2000;
const QUEUE_LIMIT = 100;
const CALLBACKS = ["connecting", "connected", "disconnected", "receive_message"];

/* A page with one instance; `log` has each callback in its order. */
function start(options = {}, globals = {}) {
    const page = open_page(globals);
    page.log = [];
    page.client = new page.WS4Redis(Object.assign({
        uri: URI,
        connecting: () => page.log.push("connecting"),
        connected: () => page.log.push("connected"),
        disconnected: evt => page.log.push(`disconnected ${evt.code}`),
        receive_message: data => page.log.push(data),
    }, options));
    return page;
}

/* Until all promises have been heard. */
function settled() {
    return new Promise(resolve => setImmediate(resolve));
}

/* A promise of an address, and how to answer. */
function question() {
    const asked = {};
    asked.promise = new Promise((resolve, reject) => Object.assign(asked, {resolve, reject}));
    return asked;
}

/* One test per row: {name: row}, or a list of names. */
function table(title, rows, body) {
    const entries = Array.isArray(rows) ? rows.map(name => [name]) : Object.entries(rows);
    describe(title, () => {
        entries.forEach(([name, row]) => test(name, () => body(name, row)));
    });
}

/* Park-Miller: the same numbers on every run. */
function seeded(seed) {
    return () => {
        seed = (seed * 48271) % 2147483647;
        return seed / 2147483647;
    };
}

/* How to bring a client into each of its states. */
const SITUATIONS = {
    connecting: () => {},
    asking: page => {
        page.client.set_uri(() => new Promise(() => {}));
        page.log.length = 0;
    },
    open: page => page.socket.opens(),
    "closing, given up": page => {
        page.socket.opens();
        page.clock.advance(4 * TICK);
    },
    waiting: page => page.socket.closes(),
    "closed by close()": page => {
        page.client.close();
        page.socket.closes();
    },
    "closed for a fault": page => page.socket.opens().closes(1002),
};

// ------------------------------------------------------------------ loading and calling

const CALLS = {
    "with new": (WS4Redis, options) => new WS4Redis(options),
    "without new": (WS4Redis, options) => WS4Redis(options),
    "as a property": (WS4Redis, options) => ({WS4Redis}).WS4Redis(options),
    "as the base of a class": (WS4Redis, options) => new (class extends WS4Redis {})(options),
    "as the base of a function": (WS4Redis, options) => {
        function Derived() {
            WS4Redis.call(this, options);
        }
        Derived.prototype = Object.create(WS4Redis.prototype);
        return new Derived();
    },
    "with jQuery": (WS4Redis, options) => new WS4Redis(options, untouchable()),
    "with jQuery, without new": (WS4Redis, options) => WS4Redis(options, untouchable()),
};

function untouchable() {
    return new Proxy(() => {}, {
        get: (_, name) => assert.fail(`jQuery.${String(name)} was used`),
        apply: () => assert.fail("jQuery was called"),
    });
}

// contract: 13.2 WS4Redis: a global function, with or without new
// contract: 13.2 WS4Redis: decided: jQuery may be passed, and is not used
// contract: asks javascript: #160, #136, django-angular #267: without jQuery, as a module
table("called", CALLS, (_, call) => {
    const page = open_page();
    const client = call(page.WS4Redis, {uri: URI});
    assert.ok(client instanceof page.WS4Redis);
    assert.deepEqual(page.sockets.map(socket => socket.url), [URI]);
    page.socket.opens();
    assert.ok(client.is_connected());
    assert.equal(page.scope.send_message, undefined);
});

// contract: 13.2 WS4Redis: decided: jQuery may be passed, and is not used
// contract: differs from 0.6: `WS4Redis` and jQuery
table("on a page", {
    "with a global jQuery": {jQuery: untouchable()},
    "without window": {window: undefined},
    "whose window has no events": {window: {}},
}, (_, globals) => {
    const page = start({}, globals);
    page.socket.opens().closes();
    page.clock.advance(1000);
    page.socket.opens();
    assert.ok(page.client.is_connected());
    page.client.close();
});

test("the script may be included twice", () => {
    const page = open_page();
    page.load();
    assert.equal(typeof page.scope.WS4Redis, "function");
});

test("the script is a CommonJS module, too, and still sets the global name", () => {
    assert.equal(require(SCRIPT).name, "WS4Redis");
    assert.equal(globalThis.WS4Redis, require(SCRIPT));
});

test("two instances are independent", () => {
    const page = start();
    const other = new page.WS4Redis({uri: "ws://www.example.com/ws/other"});
    const [mine, theirs] = page.sockets;
    mine.opens();
    other.send_message("later");
    page.client.close();
    theirs.opens();
    assert.deepEqual([mine.sent, theirs.sent], [[], ["later"]]);
    assert.ok(other.is_connected());
    theirs.closes();
    page.clock.advance(1000);
    assert.equal(page.sockets.length, 3);
});

// ----------------------------------------------------------------------------- options

// contract: 13.2 WS4Redis: it throws without uri
table("no uri", {
    "no options": undefined,
    "options without": {},
    "undefined": {uri: undefined},
    "null": {uri: null},
    empty: {uri: ""},
}, (_, options) => {
    const page = open_page();
    assert.throws(() => new page.WS4Redis(options), /WS4Redis: .*uri/);
    assert.equal(page.sockets.length, 0);
});

// contract: 13.2 WS4Redis: connected(), receive_message(data), disconnected(evt)
// contract: asks javascript: #161, #178: is it connected
test("callbacks come in order, as methods of the options", () => {
    const log = [];
    const options = {uri: URI};
    for (const name of CALLBACKS) {
        options[name] = function (...args) {
            log.push([name, this.uri, ...args]);
        };
    }
    const page = start(options);
    page.socket.opens();
    page.socket.receives("hello");
    page.socket.closes(1006);
    page.clock.advance(1000);
    assert.deepEqual(log, [
        ["connecting", URI],
        ["connected", URI],
        ["receive_message", URI, "hello"],
        ["disconnected", URI, {type: "close", code: 1006}, 1000],
        ["connecting", URI],
    ]);
});

// contract: 13.2 WS4Redis: connecting() before each socket
test("connecting() is called before the socket is made", () => {
    const page = open_page();
    let existing;
    new page.WS4Redis({uri: URI, connecting: () => { existing = page.sockets.length; }});
    assert.equal(existing, 0);
});

// contract: 13.2 WS4Redis: disconnected() comes before the reconnect is scheduled
test("disconnected() is called before the reconnect is scheduled, and may prevent it", () => {
    const page = start({disconnected: () => {
        assert.deepEqual(page.clock.delays(), []);
        assert.ok(page.client.is_closed());
        page.client.close();
    }});
    page.socket.opens().closes();
    page.clock.advance(60000);
    assert.equal(page.sockets.length, 1);
});

table("disconnected() is told", {
    "when the next attempt follows": [page => page.socket.closes(), 1000],
    "when it follows late": [page => page.socket.opens().closes(1008), 30000],
    "that none follows a fault": [page => page.socket.opens().closes(1002), null],
    "that none follows close()": [page => {
        page.client.close();
        page.socket.closes(1000);
    }, null],
    "that it follows at once": [page => page.client.set_uri("ws://www.example.com/ws/other"), 0],
}, (_, [lose, expected]) => {
    const told = [];
    const page = start({disconnected: (evt, retry) => told.push(retry)});
    lose(page);
    assert.deepEqual(told, [expected]);
});

test("connecting() may close", () => {
    let page = null;
    page = start({connecting: () => page && page.client.close()});
    page.socket.closes();
    page.clock.advance(60000);
    assert.equal(page.sockets.length, 1);
    assert.deepEqual(page.clock.uncaught, []);
});

// contract: 13.2 WS4Redis: callbacks are optional
test("callbacks are optional, and nothing is called that is no function", () => {
    const page = open_page();
    new page.WS4Redis({uri: URI, connected: null, receive_message: "nonsense"});
    page.socket.opens().receives("hello");
    page.socket.closes();
    page.clock.advance(1000);
    assert.equal(page.sockets.length, 2);
    assert.deepEqual(page.clock.uncaught, []);
});

test("the page's options are left alone", () => {
    const page = open_page();
    const options = Object.freeze({uri: URI});
    new page.WS4Redis(options);
    assert.deepEqual(options, {uri: URI});
});

table("a callback that throws is reported and does no harm", CALLBACKS, name => {
    const mistake = new Error("of the page");
    const page = start({heartbeat_msg: HEARTBEAT, [name]: () => { throw mistake; }});
    page.client.send_message("queued");
    page.socket.opens();
    page.socket.receives("hello");
    page.clock.advance(TICK);
    assert.deepEqual(page.socket.sent, ["queued", HEARTBEAT]);
    page.socket.closes();
    page.clock.advance(1000);
    assert.equal(page.sockets.length, 2);
    assert.ok(page.clock.uncaught.length > 0);
    assert.ok(page.clock.uncaught.every(error => error === mistake));
});

test("where there is reportError, it gets the exceptions of callbacks", () => {
    const reported = [];
    const mistake = new Error("of the page");
    const page = start(
        {connected: () => { throw mistake; }},
        {reportError: error => reported.push(error)},
    );
    page.socket.opens();
    assert.deepEqual(reported, [mistake]);
    assert.deepEqual(page.clock.delays(), []);
});

// ----------------------------------------------------------------------------- methods

// contract: 13.2 WS4Redis: get_state() and four predicates
// contract: asks javascript: #161, #178: is it connected
table("state while", {
    connecting: ["connecting", 0],
    open: ["open", 1],
    closing: ["closing, given up", 2],
    "waiting for an address": ["asking", 0],
    "waiting to reconnect": ["waiting", 3],
    closed: ["closed by close()", 3],
    "closed for a fault": ["closed for a fault", 3],
}, (_, [situation, state]) => {
    const page = start({heartbeat_msg: HEARTBEAT});
    SITUATIONS[situation](page);
    const {get_state, is_connecting, is_connected, is_closing, is_closed} = page.client;
    assert.equal(get_state(), state);
    assert.deepEqual(
        [is_connecting(), is_connected(), is_closing(), is_closed()],
        [0, 1, 2, 3].map(other => other === state),
    );
});

test("while no socket could be made, state is closed and disconnected() called", () => {
    const page = start();
    page.socket.closes();
    page.log.length = 0;
    page.constructor_error = new Error("SecurityError");
    page.clock.advance(1000);
    assert.deepEqual(page.log, ["connecting", "disconnected 1006"]);
    assert.ok(page.client.is_closed());
});

// contract: 13.2 WS4Redis: send_message() sends
test("send_message passes text and binary on", () => {
    const page = start();
    const bytes = new Uint8Array([1, 2, 3]);
    page.socket.opens();
    page.client.send_message("hello");
    page.client.send_message(bytes);
    assert.deepEqual(page.socket.sent, ["hello", bytes]);
});

const UNCONNECTED = ["connecting", "waiting", "closing, given up"];

// contract: 13.2 WS4Redis: decided: what is sent waits while there is no connection
// contract: differs from 0.6: `send_message` without a connection
table("messages wait, in order, while", UNCONNECTED, situation => {
    const page = start({heartbeat_msg: HEARTBEAT});
    SITUATIONS[situation](page);
    page.client.send_message("one");
    page.client.send_message("two");
    page.clock.advance(FAREWELL + 1000);
    page.socket.opens();
    page.client.send_message("three");
    assert.deepEqual(page.socket.sent, ["one", "two", "three"]);
    page.socket.closes();
    page.clock.advance(1000);
    page.socket.opens();
    assert.deepEqual(page.socket.sent, [], "messages are sent once");
});

test("messages that waited are sent before connected() sends", () => {
    const page = start({connected: () => page.client.send_message("from connected")});
    page.client.send_message("waited");
    page.socket.opens();
    assert.deepEqual(page.socket.sent, ["waited", "from connected"]);
});

// contract: 13.2 WS4Redis: decided: what is sent waits while there is no connection
// contract: differs from 0.6: `send_message` without a connection
test("the queue is bounded", () => {
    const page = start();
    for (let number = 0; number < QUEUE_LIMIT; number += 1) {
        page.client.send_message(`${number}`);
    }
    assert.throws(() => page.client.send_message("too many"), /queue of 100 messages is full/);
    page.socket.opens();
    assert.equal(page.socket.sent.length, QUEUE_LIMIT);
    assert.equal(page.socket.sent[QUEUE_LIMIT - 1], "99");
    page.client.send_message("fits again");
});

test("a queued message that cannot be sent does not keep the others", () => {
    const page = start({heartbeat_msg: HEARTBEAT});
    const refuse = page.socket.send;
    page.socket.send = function (message) {
        assert.notEqual(message, "bad");
        refuse.call(this, message);
    };
    ["one", "bad", "two"].forEach(page.client.send_message);
    page.socket.opens();
    assert.deepEqual(page.socket.sent, ["one", "two"]);
    assert.deepEqual(page.log, ["connecting", "connected"]);
});

table("send_message throws when", ["closed by close()", "closed for a fault"], situation => {
    const page = start();
    SITUATIONS[situation](page);
    assert.throws(() => page.client.send_message("hello"), /WS4Redis: closed/);
});

// contract: 13.2 WS4Redis: close() is the end; decided: of every timer, too
// contract: asks javascript: #29, #179, #181: end it, change its channel
table("close() is final while", SITUATIONS, (_, bring) => {
    const page = start({heartbeat_msg: HEARTBEAT});
    bring(page);
    const made = page.sockets.length;
    page.client.close();
    page.client.close();
    assert.deepEqual(page.clock.delays(), [], "no timer is left");
    assert.equal(page.window.listeners.size, 0, "no listener is left");
    page.socket.closes(1000);
    page.window.dispatch({type: "online"});
    page.clock.advance(3600000);
    assert.equal(page.sockets.length, made);
    assert.ok(page.client.is_closed());
    assert.throws(() => page.client.send_message("hello"), /closed/);
});

test("close() drops a question", async () => {
    const asked = question();
    const page = start({uri: () => asked.promise});
    page.client.close();
    assert.ok(page.client.is_closed());
    asked.resolve(URI);
    await settled();
    assert.deepEqual([page.sockets.length, page.log], [0, ["connecting"]]);
});

// contract: 13.2 WS4Redis: close() closes the socket
table("close() closes the socket while", ["connecting", "open"], situation => {
    const page = start();
    SITUATIONS[situation](page);
    page.client.close();
    assert.equal(page.socket.close_calls, 1);
    assert.ok(page.client.is_closing());
    page.socket.closes(1000);
    assert.equal(page.log.pop(), "disconnected 1000");
});

test("close() forgets what waits", () => {
    const page = start();
    page.client.send_message("hello");
    page.client.close();
    page.socket.opens();
    assert.deepEqual(page.socket.sent, []);
});

// ---------------------------------------------------------------- an address by function

table("uri may be a function that returns", {
    "an address": () => URI,
    "a promise of it": async () => URI,
}, async (_, uri) => {
    const page = start({uri});
    assert.ok(page.client.is_connecting());
    page.client.send_message("early");
    await settled();
    assert.deepEqual(page.sockets.map(socket => socket.url), [URI]);
    assert.deepEqual(page.socket.opens().sent, ["early"]);
    assert.deepEqual(page.log, ["connecting", "connected"]);
});

test("the function is asked anew for each attempt, as a method of the options", async () => {
    let asked = 0;
    const page = start({base: "ws://www.example.com/ws/", uri() {
        asked += 1;
        return `${this.base}${asked}`;
    }});
    await settled();
    page.socket.opens().closes();
    page.clock.advance(1000);
    await settled();
    page.socket.closes();
    page.clock.advance(3000);
    await settled();
    assert.deepEqual(page.sockets.map(socket => socket.url.slice(-1)), ["1", "2", "3"]);
});

/* A page's mistake is none of the browser's: what the function throws may even be a SyntaxError. */
table("the function's failure is a failed attempt when it", {
    throws: () => { throw new SyntaxError("of the page"); },
    rejects: async () => { throw new Error("of the page"); },
    "returns nothing": () => undefined,
    "returns a malformed URL": () => "ws://:",
}, async (_, fail) => {
    let answer = fail;
    const page = start({uri: () => answer()});
    page.constructor_error = malformed();
    page.client.send_message("waits");
    await settled();
    assert.deepEqual(page.log, ["connecting", "disconnected 1006"]);
    assert.deepEqual(page.clock.delays().filter(Boolean), [1000]);
    assert.ok(page.client.is_closed());
    page.constructor_error = null;
    answer = () => URI;
    page.clock.advance(1000);
    await settled();
    assert.equal(page.clock.uncaught.length, 1);
    assert.deepEqual(page.socket.opens().sent, ["waits"]);
});

test("the delay grows while the function fails", async () => {
    const page = start({uri: () => Promise.reject(new Error("of the page"))}, {reportError() {}});
    for (const seconds of BOUNDS) {
        await settled();
        assert.deepEqual(page.clock.delays(), [1000 * seconds]);
        page.clock.advance(1000 * seconds);
    }
});

test("the function may close", async () => {
    let page = null;
    page = start({uri: () => page ? page.client.close() : URI});
    await settled();
    page.socket.closes();
    page.clock.advance(1000);
    await settled();
    assert.equal(page.sockets.length, 1);
    assert.deepEqual([page.clock.uncaught, page.clock.delays()], [[], []]);
});

// -------------------------------------------------------------------- changing channels

const OTHER = "ws://www.example.com/ws/other?subscribe-broadcast";

/* What the page is told: once that it has left, if it had begun, and then of the new attempt. */
// contract: 13.2 WS4Redis: decided: its address may change
// contract: asks channels: #69, #29: other channels on an open websocket
// contract: asks javascript: #29, #179, #181: end it, change its channel
table("set_uri connects to the new address at once while", {
    connecting: ["disconnected 1000", "connecting"],
    asking: ["disconnected 1000", "connecting"],
    open: ["disconnected 1000", "connecting"],
    "closing, given up": ["disconnected 1000", "connecting"],
    waiting: ["connecting"],
}, (situation, log) => {
    const page = start({heartbeat_msg: HEARTBEAT});
    SITUATIONS[situation](page);
    const old = page.socket;
    const closed = old.readyState === 3;
    page.log.length = 0;
    page.client.set_uri(OTHER);
    assert.deepEqual(page.log, log);
    assert.ok(closed || old.close_calls > 0, "the old socket is closed");
    assert.equal(page.socket.url, OTHER);
    assert.ok(page.client.is_connecting());
    assert.deepEqual(page.clock.delays(), [], "no timer is left of the old one");
    old.receives("late");
    old.closes(1002);
    page.socket.opens().receives("hello");
    assert.deepEqual(page.log, [...log, "connected", "hello"]);
});

test("set_uri counts as no failure, and the new address stays", () => {
    const page = start();
    failing_delays(page);
    page.client.set_uri(OTHER);
    assert.deepEqual(failing_delays(page), BOUNDS.map(seconds => 1000 * seconds));
    assert.equal(page.socket.url, OTHER);
});

test("set_uri forgets what waits for the old address, not what waits for the new one", () => {
    const page = start();
    page.client.send_message("to the old");
    page.client.set_uri(OTHER);
    page.client.send_message("to the new");
    assert.deepEqual(page.socket.opens().sent, ["to the new"]);
});

test("set_uri takes a function, too", async () => {
    const page = start();
    page.client.set_uri(async () => OTHER);
    await settled();
    assert.equal(page.socket.url, OTHER);
});

test("set_uri voids the question for the old address", async () => {
    const asked = question();
    const page = start({uri: () => asked.promise});
    page.client.set_uri(OTHER);
    asked.resolve(URI);
    await settled();
    assert.deepEqual(page.sockets.map(socket => socket.url), [OTHER]);
});

test("set_uri voids a question that fails later", async () => {
    const asked = question();
    const page = start({uri: () => asked.promise});
    page.client.set_uri(OTHER);
    asked.reject(new Error("of the page"));
    await settled();
    assert.deepEqual([page.clock.uncaught, page.clock.delays()], [[], []]);
    assert.ok(page.client.is_connecting());
});

table("set_uri may be called by", {
    "connecting()": ["connecting", page => {
        page.socket.closes();
        page.clock.advance(1000);
    }],
    "connected()": ["connected", page => page.socket.opens()],
    "receive_message()": ["receive_message", page => page.socket.opens().receives("go")],
    "disconnected()": ["disconnected", page => page.socket.closes()],
    "disconnected() of another set_uri()": ["disconnected", page => page.client.set_uri(URI)],
}, (_, [callback, provoke]) => {
    let page = null;
    let changed = false;
    page = start({[callback]: () => {
        if (page && !changed) {
            changed = true;
            page.client.set_uri(OTHER);
        }
    }});
    provoke(page);
    assert.equal(page.socket.url, OTHER);
    assert.deepEqual(page.clock.delays(), []);
    const living = page.sockets.filter(socket => socket.readyState < 2);
    assert.deepEqual(living.map(socket => socket.url), [OTHER]);
    page.socket.opens();
    assert.ok(page.client.is_connected());
});

table("set_uri throws, and changes nothing, without an address", {
    "undefined": undefined,
    "null": null,
    empty: "",
}, (_, uri) => {
    const page = start();
    assert.throws(() => page.client.set_uri(uri), /WS4Redis: .*uri/);
    page.socket.closes();
    page.clock.advance(1000);
    assert.equal(page.socket.url, URI);
});

table("set_uri throws when", ["closed by close()", "closed for a fault"], situation => {
    const page = start();
    SITUATIONS[situation](page);
    assert.throws(() => page.client.set_uri(OTHER), /WS4Redis: closed/);
    assert.equal(page.sockets.length, 1);
});

test("set_uri throws a malformed URL at its caller and is not tried again", () => {
    const page = start();
    page.constructor_error = malformed();
    assert.throws(() => page.client.set_uri("ws://:"), page.constructor_error);
    assert.deepEqual(page.clock.delays(), []);
    assert.ok(page.client.is_closed());
});

// ------------------------------------------------------------------------ reconnecting

const AT_ONCE = [0, 1000];
const SPREAD = [0, 7000];
const LATE = [30000, 30000];
const NEVER = null;

// contract: 13.2 WS4Redis: it reconnects; decided: but not where it would be refused again
// contract: differs from 0.6: reconnecting
table("after close code", {
    1000: AT_ONCE,
    1001: SPREAD,
    1002: NEVER,
    1003: NEVER,
    1005: AT_ONCE,
    1006: AT_ONCE,
    1007: NEVER,
    1008: LATE,
    1009: NEVER,
    1010: AT_ONCE,
    1011: AT_ONCE,
    1012: SPREAD,
    1013: SPREAD,
    1015: AT_ONCE,
    4000: AT_ONCE,
}, (code, range) => {
    [0, 1].forEach(chance => {
        const page = start();
        page.chance = chance;
        page.socket.opens().closes(Number(code));
        assert.deepEqual(page.clock.delays(), range ? [range[chance]] : []);
        page.clock.advance(range ? range[chance] : 3600000);
        assert.equal(page.sockets.length, range ? 2 : 1);
        assert.ok(page.log.includes(`disconnected ${code}`));
    });
});

test("after a policy violation the longest range stays until a connection opens", () => {
    const page = start();
    page.socket.opens().closes(1008);
    page.clock.advance(30000);
    page.socket.closes(1006);
    assert.deepEqual(page.clock.delays(), [30000]);
    page.clock.advance(30000);
    page.socket.opens().closes(1006);
    assert.deepEqual(page.clock.delays(), [1000]);
});

test("spreading does not shorten a delay that had grown", () => {
    const page = start();
    failing_delays(page);
    page.socket.closes(1013);
    assert.deepEqual(page.clock.delays(), [30000]);
});

test("after a restart further failures continue from there", () => {
    const page = start();
    page.socket.opens().closes(1012);
    page.clock.advance(7000);
    page.socket.closes();
    assert.deepEqual(page.clock.delays(), [15000]);
});

const BOUNDS = [1, 3, 7, 15, 30, 30, 30];    // seconds

/* Lets attempt after attempt fail, and collects the delays between them. */
function failing_delays(page) {
    return BOUNDS.map(() => {
        page.socket.closes();
        const delays = page.clock.delays();
        assert.equal(delays.length, 1, "one timer at most is pending");
        page.clock.advance(delays[0]);
        return delays[0];
    });
}

// contract: 13.2 WS4Redis: it reconnects after a random time, at most 1 s, then 3, 7, 15 and 30 s; one timer at a time
// contract: asks javascript: #57: back off
test("the delay's bound grows to 30 seconds, and starts again on open", () => {
    const page = start();
    const bounds = BOUNDS.map(seconds => 1000 * seconds);
    assert.deepEqual(failing_delays(page), bounds);
    page.socket.opens();
    assert.deepEqual(failing_delays(page), bounds);
});

// contract: 13.2 WS4Redis: it reconnects after a random time, at most 1 s, then 3, 7, 15 and 30 s; one timer at a time
test("the delay is spread over its whole range", () => {
    const runs = [];
    const page = start();
    page.chance = seeded(2026);
    for (let run = 0; run < 200; run += 1) {
        runs.push(failing_delays(page));
        page.socket.opens();
    }
    BOUNDS.forEach((seconds, step) => {
        const shares = runs.map(delays => delays[step] / (1000 * seconds));
        const mean = shares.reduce((sum, share) => sum + share) / shares.length;
        assert.ok(Math.min(...shares) >= 0 && Math.min(...shares) < 0.05);
        assert.ok(Math.max(...shares) <= 1 && Math.max(...shares) > 0.95);
        assert.ok(mean > 0.4 && mean < 0.6);
    });
});

// contract: 13.2 WS4Redis: decided: a first attempt that throws is tried again
test("a constructor that throws is reported and tried again", () => {
    const page = open_page();
    const insecure = new Error("SecurityError");
    page.constructor_error = insecure;
    const client = new page.WS4Redis({uri: URI});
    client.send_message("hello");
    page.clock.advance(1000);
    page.clock.advance(2999);
    assert.deepEqual(page.clock.uncaught, [insecure, insecure]);
    page.constructor_error = null;
    page.clock.advance(1);
    assert.equal(page.socket.url, URI);
    assert.deepEqual(page.socket.opens().sent, ["hello"]);
});

function malformed() {
    return Object.assign(new Error("malformed URL"), {name: "SyntaxError"});
}

test("a malformed URL is thrown at the caller and not tried again", () => {
    const page = open_page();
    page.constructor_error = malformed();
    assert.throws(() => new page.WS4Redis({uri: "ws://:"}), page.constructor_error);
    assert.deepEqual(page.clock.delays(), []);
});

test("a URL found malformed later ends the attempts, visibly", () => {
    const page = start();
    page.socket.closes();
    page.constructor_error = malformed();
    page.clock.advance(1000);
    assert.deepEqual(page.clock.uncaught, [page.constructor_error]);
    assert.deepEqual(page.clock.delays(), []);
    assert.throws(() => page.client.send_message("hello"), /closed/);
});

/* A page that the browser keeps in its back/forward cache. */
table("a cached page has no socket, having been", {
    connecting: ["disconnected 1000"],
    asking: ["disconnected 1000"],
    open: ["disconnected 1000"],
    "closing, given up": ["disconnected 1000"],
    waiting: [],
}, (situation, log) => {
    const page = start({heartbeat_msg: HEARTBEAT});
    SITUATIONS[situation](page);
    const left = page.socket;
    page.log.length = 0;
    page.window.dispatch({type: "pagehide", persisted: true});
    assert.deepEqual(page.log, log);
    assert.ok(left.readyState > 1);
    assert.deepEqual(page.clock.delays(), [30000], "whoever is not frozen comes back late");
    page.window.dispatch({type: "pageshow", persisted: true});
    assert.ok(page.client.is_connecting());
});

test("a page that is not cached is left to the browser", () => {
    const page = start();
    page.socket.opens();
    page.window.dispatch({type: "pagehide", persisted: false});
    assert.equal(page.socket.close_calls, 0);
    assert.ok(page.client.is_connected());
});

test("a cached page that is shown again connects and sends what waits", () => {
    const page = start();
    page.socket.opens();
    page.window.dispatch({type: "pagehide", persisted: true});
    page.client.send_message("waits");
    page.window.dispatch({type: "pageshow", persisted: true});
    assert.equal(page.sockets.length, 2);
    assert.deepEqual(page.socket.opens().sent, ["waits"]);
    page.window.dispatch({type: "pagehide", persisted: true});
    assert.equal(page.socket.close_calls, 1, "and so again");
});

test("disconnected() may close a page that is cached", () => {
    const page = start({disconnected: () => page.client.close()});
    page.window.dispatch({type: "pagehide", persisted: true});
    assert.deepEqual(page.clock.delays(), []);
    assert.equal(page.window.listeners.size, 0);
});

table("waiting ends at once when the page", {
    "is online again": {type: "online"},
    "comes back from the cache": {type: "pageshow", persisted: true},
}, (_, evt) => {
    const page = start();
    page.socket.closes();
    page.window.dispatch(evt);
    assert.equal(page.sockets.length, 2);
    assert.deepEqual(page.clock.delays(), []);
    page.window.dispatch(evt);
    assert.equal(page.sockets.length, 2, "only while waiting");
});

test("an ordinary pageshow changes nothing", () => {
    const page = start();
    page.socket.closes();
    page.window.dispatch({type: "pageshow", persisted: false});
    assert.equal(page.sockets.length, 1);
    assert.deepEqual(page.clock.delays(), [1000]);
});

test("events of an old socket do not reach the new one", () => {
    const page = start({heartbeat_msg: HEARTBEAT});
    const old = page.socket.opens();
    old.closes();
    page.clock.advance(1000);
    page.log.length = 0;
    old.opens();
    old.receives("late");
    old.closes(1002);
    assert.deepEqual(page.log, []);
    assert.deepEqual(page.clock.delays(), []);
    assert.ok(page.client.is_connecting());
});

// --------------------------------------------------------------------------- heartbeat

// contract: 13.2 WS4Redis: heartbeat_msg is null by default
table("there is no heartbeat with heartbeat_msg", {
    missing: {},
    "undefined": {heartbeat_msg: undefined},
    "null": {heartbeat_msg: null},
    empty: {heartbeat_msg: ""},
}, (_, options) => {
    const page = start(options);
    page.socket.opens();
    page.clock.advance(3600000);
    page.socket.receives("");
    page.socket.receives(null);
    assert.deepEqual(page.socket.sent, []);
    assert.deepEqual(page.log, ["connecting", "connected", "", null]);
});

// contract: 13.2 WS4Redis: a heartbeat every 5 s while it is open
test("heartbeats are sent every five seconds, and not before", () => {
    const page = start({heartbeat_msg: HEARTBEAT});
    page.clock.advance(TICK);
    page.socket.opens();
    page.clock.advance(TICK - 1);
    assert.deepEqual(page.socket.sent, []);
    page.clock.advance(1);
    assert.deepEqual(page.socket.sent, [HEARTBEAT]);
    page.clock.advance(2 * TICK);
    assert.deepEqual(page.socket.sent, [HEARTBEAT, HEARTBEAT, HEARTBEAT]);
});

// contract: 13.2 WS4Redis: receive_message() gets no heartbeats
test("received heartbeats are swallowed, other messages are not", () => {
    const page = start({heartbeat_msg: HEARTBEAT});
    page.log.length = 0;
    page.socket.opens();
    [HEARTBEAT, `${HEARTBEAT} `, "", "hello"].forEach(data => page.socket.receives(data));
    assert.deepEqual(page.log, ["connected", `${HEARTBEAT} `, "", "hello"]);
});

// contract: 13.2 WS4Redis: it gives up at the fourth heartbeat without an answer; any answer counts anew
// contract: 14 manual: 13 the browser gives up at the fourth heartbeat
table("the tick that gives up, when a heartbeat comes after tick", {
    none: {after: [], gives_up: 4},
    1: {after: [1], gives_up: 5},
    3: {after: [3], gives_up: 7},
    "1 and 4": {after: [1, 4], gives_up: 8},
    "3, 6 and 9": {after: [3, 6, 9], gives_up: 13},
}, (_, {after, gives_up}) => {
    const page = start({heartbeat_msg: HEARTBEAT});
    page.socket.opens();
    for (let tick = 1; tick < gives_up; tick += 1) {
        page.clock.advance(TICK);
        page.socket.receives(after.includes(tick) ? HEARTBEAT : "another message");
    }
    assert.equal(page.socket.close_calls, 0);
    page.clock.advance(TICK);
    assert.equal(page.socket.close_calls, 1);
    assert.equal(page.socket.sent.length, gives_up - 1);
});

function give_up() {
    const page = start({heartbeat_msg: HEARTBEAT});
    SITUATIONS["closing, given up"](page);
    return page;
}

// contract: 13.2 WS4Redis: after giving up it reconnects
table("given up, the handshake ended by", ["1000", "1005", "1006", "1009"], code => {
    const page = give_up();
    page.socket.closes(Number(code));
    assert.equal(page.log.pop(), `disconnected ${code}`);
    page.clock.advance(1000);
    assert.ok(page.client.is_connecting());
    page.clock.advance(FAREWELL);
    assert.deepEqual([page.sockets.length, page.log.pop()], [2, "connecting"]);
});

test("given up on a dead network, the socket is abandoned", () => {
    const page = give_up();
    const dead = page.socket;
    assert.deepEqual(page.clock.delays(), [FAREWELL], "the interval has stopped");
    page.clock.advance(FAREWELL);
    assert.equal(page.log.pop(), "disconnected 1006");
    assert.ok(page.client.is_closed());
    page.clock.advance(1000);
    assert.equal(page.sockets.length, 2);
    page.socket.opens();
    dead.closes(1002);
    assert.equal(page.log.pop(), "connected");
    assert.ok(page.client.is_connected());
});

test("on a dead network disconnected() gets a close event, too", () => {
    let evt;
    const page = start({heartbeat_msg: HEARTBEAT, disconnected: got => { evt = got; }});
    page.socket.opens();
    page.clock.advance(4 * TICK + FAREWELL);
    assert.deepEqual({...evt}, {
        type: "close", code: 1006, reason: "heartbeats unanswered", wasClean: false,
    });
});

test("once given up, and connected again, a fault is final as ever", () => {
    const page = give_up();
    page.socket.closes(1006);
    page.clock.advance(1000);
    page.socket.opens().closes(1002);
    assert.deepEqual(page.clock.delays(), []);
    assert.throws(() => page.client.send_message("hello"), /closed/);
});

test("a browser that is itself closing for long is not waited for, either", () => {
    const page = start({heartbeat_msg: HEARTBEAT});
    page.socket.opens().readyState = 2;
    page.clock.advance(4 * TICK + FAREWELL + 1000);
    assert.equal(page.sockets.length, 2);
});

// contract: 13.2 WS4Redis: decided: no heartbeat outlives its socket
test("the heartbeat stops on close, and its count starts anew on open", () => {
    const page = start({heartbeat_msg: HEARTBEAT});
    page.socket.opens();
    page.clock.advance(3 * TICK);
    page.socket.closes();
    page.clock.advance(1000);
    page.clock.advance(10 * TICK);
    assert.equal(page.socket.close_calls, 0, "a connecting socket is left alone");
    assert.deepEqual(page.clock.uncaught, []);
    page.socket.opens();
    assert.deepEqual(page.clock.delays(), [TICK], "one interval only");
    page.clock.advance(3 * TICK);
    assert.equal(page.socket.close_calls, 0);
    page.clock.advance(TICK);
    assert.equal(page.socket.close_calls, 1);
});
