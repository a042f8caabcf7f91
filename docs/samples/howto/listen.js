const scheme = location.protocol === "https:" ? "wss:" : "ws:";
const socket = new WebSocket(`${scheme}//${location.host}/ws/news?subscribe-broadcast`);
socket.onmessage = event => document.querySelector("#news").append(event.data, "\n");
