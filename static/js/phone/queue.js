// Data that survives a reload: the fixes without an ack, and some values.

const DATABASE = "spectate-phone";

/**
 * `unsure`: the time is this device's own and has not been compared with the server's.
 * @typedef {import("./backlog.js").Fix & {runner: string, unsure?: boolean}} Row
 */

/**
 * @template T
 * @param {IDBRequest<T>} request
 * @returns {Promise<T>}
 */
function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Opens the browser's storage. Without one (`durable` false) a reload loses the data. */
export async function openQueue() {
  try {
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => {
      opening.result.createObjectStore("fixes", { keyPath: ["runner", "t"] });
      opening.result.createObjectStore("kept");
    };
    return new Queue(await result(opening));
  } catch {
    return new Queue(null);
  }
}

/** Stores fixes by runner and time, and values by name. */
export class Queue {
  #database;

  /** @param {IDBDatabase | null} database */
  constructor(database) {
    this.#database = database;
  }

  get durable() {
    return this.#database !== null;
  }

  /** @param {Row[]} rows */
  async add(rows) {
    await this.#write("fixes", (store) => rows.forEach((row) => store.put(row)));
  }

  /**
   * @param {string} runner
   * @param {number[]} times
   */
  async remove(runner, times) {
    await this.#write("fixes", (store) => times.forEach((t) => store.delete([runner, t])));
  }

  /**
   * Return a runner's rows, oldest first.
   * @param {string} runner
   * @returns {Promise<Row[]>}
   */
  async rows(runner) {
    if (!this.#database) return [];
    const store = this.#database.transaction("fixes").objectStore("fixes");
    return result(store.getAll(IDBKeyRange.bound([runner], [runner, []])));
  }

  /**
   * @param {string} name
   * @returns {Promise<any>}
   */
  async recall(name) {
    if (!this.#database) return undefined;
    return result(this.#database.transaction("kept").objectStore("kept").get(name));
  }

  /**
   * Store a value, or remove it if it is undefined.
   * @param {string} name
   * @param {unknown} value
   */
  async remember(name, value) {
    await this.#write("kept", (store) =>
      value === undefined ? store.delete(name) : store.put(value, name),
    );
  }

  /**
   * @param {string} name
   * @param {(store: IDBObjectStore) => unknown} work
   * @returns {Promise<void>}
   */
  #write(name, work) {
    const database = this.#database;
    if (!database) return Promise.resolve();
    return new Promise((resolve, reject) => {
      // "relaxed" would be faster, and may lose fixes that were reported as stored.
      const transaction = database.transaction(name, "readwrite", { durability: "strict" });
      transaction.oncomplete = () => resolve();
      transaction.onabort = () => reject(transaction.error);
      work(transaction.objectStore(name));
    });
  }
}
