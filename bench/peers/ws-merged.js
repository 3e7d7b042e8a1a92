// The seed dialect on `ws`, optimised as in Spectate: each frame is built once, and all
// frames for a socket in one turn of the event loop go out in one write. Checks and stores
// nothing.   node bench/peers/ws-merged.js PORT

import { Sender, WebSocketServer } from "ws";
import { Rooms } from "./rooms.js";

/** @type {Rooms<import("node:net").Socket>} */
const rooms = new Rooms();
/** @type {Map<import("node:net").Socket, Buffer[]>} */
let owed = new Map();

function flush() {
  const due = owed;
  owed = new Map();
  for (const [connection, frames] of due) {
    connection.write(frames.length === 1 ? frames[0] : Buffer.concat(frames));
  }
}

const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.argv[2]),
  perMessageDeflate: false,
  backlog: 2048,
});

server.on("connection", (socket, request) => {
  const connection = request.socket;
  socket.on("message", (data) => {
    const message = JSON.parse(data.toString());
    if (message.initialRequest) {
      rooms.join(connection, message.following);
      return;
    }
    const { userId, lat, lng } = message;
    const text = Buffer.from(JSON.stringify({ userId, lat, lng }));
    const frame = Buffer.concat(
      Sender.frame(text, { fin: true, opcode: 1, mask: false, readOnly: true, rsv1: false }),
    );
    for (const follower of rooms.of(userId)) {
      const frames = owed.get(follower);
      if (frames !== undefined) frames.push(frame);
      else if (owed.set(follower, [frame]).size === 1) setImmediate(flush);
    }
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    rooms.leave(connection);
    owed.delete(connection);
  });
});
