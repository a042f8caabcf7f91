/** Types of `ws4redis.js`, for its use as a script and through `require`. */

/** One websocket that is kept open. The methods need no `this` and may be passed around. */
interface WS4Redis {
    /**
     * Sends a message. While there is no connection, up to 100 messages wait and are sent, in
     * order, as soon as there is one.
     * @throws Error when the queue is full, and when the instance is closed for good: after
     * `close()`, or after the server closed with 1002, 1003, 1007 or 1009.
     */
    send_message(message: string | ArrayBuffer | ArrayBufferView | Blob): void;

    /**
     * Changes channels: leaves the old address and connects to the new one at once, which counts
     * as no failure. `disconnected` is called with code 1000. What waits to be sent is forgotten,
     * for it was meant for the old address.
     * @throws Error when there is no `uri`, and when the instance is closed for good
     * @throws DOMException named `SyntaxError` when `uri` is malformed
     */
    set_uri(uri: WS4Redis.Address): void;

    /** The `readyState` of the socket: 0 connecting, 1 open, 2 closing, 3 closed or none. */
    get_state(): number;

    /**
     * Whether the socket is being opened, or its address awaited. Waiting for the next attempt
     * counts as closed.
     */
    is_connecting(): boolean;

    /** Whether the socket is open. */
    is_connected(): boolean;

    /** Whether the closing handshake is under way. */
    is_closing(): boolean;

    /** Whether there is no socket, be it for good or until the next attempt. */
    is_closed(): boolean;

    /**
     * Closes the socket, forgets what waits to be sent, and never reconnects: the instance is
     * finished. `disconnected` is still called if there was a socket. May be called repeatedly.
     */
    close(): void;
}

declare namespace WS4Redis {
    /** Where to connect to: `WEBSOCKET_URI` + facility + `?` + channels. */
    type Uri = string | URL;

    /**
     * A function is asked anew for each attempt, so that the page can renew a ticket which
     * expires. When it fails, that is a failed attempt, and it is asked again later.
     */
    type Address = Uri | (() => Uri | PromiseLike<Uri>);

    /**
     * What `WS4Redis` is told. An exception in a callback is reported to the page's error
     * handlers and disturbs neither reconnecting nor heartbeats.
     */
    interface Options {
        /** The address, or a function that returns it or a promise of it. Required. */
        uri: Address;

        /**
         * The text that browser and server send each other to prove that they are alive,
         * `WS4REDIS_HEARTBEAT`. It is sent every five seconds; when it stays unanswered for
         * three times, the connection is given up and made anew. Without it there is none.
         */
        heartbeat_msg?: string | null;

        /** Called just before each attempt to connect. */
        connecting?(): void;

        /** Called when a connection is open and the messages that waited for it are sent. */
        connected?(): void;

        /**
         * Called when a connection is lost, refused or closed, before the next attempt is
         * scheduled. `close()` called from here prevents it.
         * @param evt the socket's own event; or one of code 1000 where this script has left, or
         * 1006 where it has given up or could make no socket
         * @param retry milliseconds until the next attempt, or null when there will be none
         */
        disconnected?(evt: CloseEvent, retry: number | null): void;

        /** Called with each message other than the heartbeat; a binary one is a `Blob`. */
        receive_message?(data: any): void;
    }
}

declare const WS4Redis: {
    /**
     * Connects, and stays connected until `close()`.
     * @param options see `WS4Redis.Options`
     * @param $ jQuery, which earlier versions needed; ignored
     * @throws Error when `options.uri` is missing
     * @throws DOMException named `SyntaxError` when `options.uri` is malformed
     */
    new (options: WS4Redis.Options, $?: unknown): WS4Redis;
    (options: WS4Redis.Options, $?: unknown): WS4Redis;
};

export = WS4Redis;
export as namespace WS4Redis;
