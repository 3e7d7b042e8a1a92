// The seed dialect on Socket.IO with a room per runner, as in its documentation. Checks
// and stores nothing.   node bench/peers/socketio.js PORT

import { createServer } from "node:http";
import { Server } from "socket.io";

const http = createServer();
const io = new Server(http, { transports: ["websocket"] });

io.on("connection", (socket) => {
  socket.on("follow", ({ following }) => socket.join(following.map(String)));
  socket.on("position", ({ userId, lat, lng }) => {
    io.to(String(userId)).emit("position", { userId, lat, lng });
  });
});

http.listen(Number(process.argv[2]), "127.0.0.1", 2048);
