// Subscriptions, shared by the peers: sockets by runner's id, ids compared as text.

/** @template Socket */
export class Rooms {
  constructor() {
    /** @type {Map<string, Set<Socket>>} */
    this.rooms = new Map();
    /** @type {Map<Socket, string[]>} */
    this.followed = new Map();
  }

  /** @param {Socket} socket @param {(string | number)[]} following */
  join(socket, following) {
    const ids = following.map(String);
    for (const id of ids) {
      let room = this.rooms.get(id);
      if (room === undefined) this.rooms.set(id, (room = new Set()));
      room.add(socket);
    }
    this.followed.set(socket, (this.followed.get(socket) ?? []).concat(ids));
  }

  /** @param {string | number} id */
  of(id) {
    return this.rooms.get(String(id)) ?? [];
  }

  /** @param {Socket} socket */
  leave(socket) {
    for (const id of this.followed.get(socket) ?? []) {
      const room = this.rooms.get(id);
      room?.delete(socket);
      if (room?.size === 0) this.rooms.delete(id);
    }
    this.followed.delete(socket);
  }
}
