// The seed dialect on `ws` with one `send` per follower, as in its documentation. Checks
// and stores nothing.   node bench/peers/ws.js PORT

import { WebSocketServer } from "ws";
import { Rooms } from "./rooms.js";

/** @type {Rooms<import("ws").WebSocket>} */
const rooms = new Rooms();
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  perMessageDeflate: false,
  backlog: 2048,
});

server.on("connection", (socket) => {
  socket.on("message", (data) => {
    const message = JSON.parse(data.toString());
    if (message.initialRequest) {
      rooms.join(socket, message.following);
      return;
    }
    const { userId, lat, lng } = message;
    const text = JSON.stringify({ userId, lat, lng });
    for (const follower of rooms.of(userId)) follower.send(text);
  });
  socket.on("error", () => {});
  socket.on("close", () => rooms.leave(socket));
});
