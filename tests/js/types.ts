// Read by tsc only: what the declarations allow, and what they refuse.
import Script = require("../../ws4redis/static/js/ws4redis.js");
import Namespaced = require("../../ws4redis/static/ws4redis/js/ws4redis.js");
import WS4Redis from "../../ws4redis/static/ws4redis/js/ws4redis.module.js";

const jQuery: unknown = undefined;

const client: WS4Redis = new WS4Redis({uri: "ws://www.example.com/ws/foobar"});
const all: WS4Redis[] = [
    WS4Redis({uri: new URL("ws://www.example.com/ws/foobar")}),
    new Script({uri: () => "ws://www.example.com/ws/foobar", heartbeat_msg: null}),
    Namespaced({uri: async () => new URL("ws://www.example.com/ws/foobar")}, jQuery),
];

const options: WS4Redis.Options = {
    uri: "ws://www.example.com/ws/foobar",
    heartbeat_msg: "--heartbeat--",
    connecting() {},
    connected() {},
    disconnected(evt, retry) {
        const code: number = evt.code;
        const seconds: number | null = retry && retry / 1000;
        console.log(code, seconds);
    },
    receive_message: text => console.log(text),
};
new WS4Redis(options);
new WS4Redis({...options, disconnected: evt => console.log(evt.reason)});

client.send_message("text");
client.send_message(new Uint8Array(3));
client.send_message(new Blob());
client.set_uri("ws://www.example.com/ws/other");
client.set_uri(async () => "ws://www.example.com/ws/other");
const state: number = client.get_state();
const states: boolean[] = [
    client.is_connecting(), client.is_connected(), client.is_closing(), client.is_closed(),
];
client.close();
console.log(all, state, states);

class Derived extends WS4Redis {}
new Derived(options).close();

// @ts-expect-error
new WS4Redis();
// @ts-expect-error
new WS4Redis({});
// @ts-expect-error
new WS4Redis({uri: null});
// @ts-expect-error
new WS4Redis({uri: () => 1});
// @ts-expect-error
new WS4Redis({uri: "ws://www.example.com/", unknown_option: 1});
// @ts-expect-error
client.send_message({text: "an object"});
// @ts-expect-error
client.set_uri();
// @ts-expect-error
client.unknown_method();
