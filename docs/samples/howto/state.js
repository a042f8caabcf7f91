/** A state that all pages share. Returns the function that changes it. */
function share(uri, show) {
    let known = "";
    const shared = new WS4Redis({
        uri,
        receive_message: text => {
            known = text;
            show(JSON.parse(text));
        },
    });
    return state => {
        const text = JSON.stringify(state);
        if (text === known)
            return; // it is what everybody knows
        known = text;
        shared.send_message(text);
    };
}
