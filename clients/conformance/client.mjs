// The JavaScript package as a program of the suite (program.py describes it).

import { createInterface } from "node:readline";
import { Publisher, Spectator } from "../javascript/index.js";

const CALLBACKS = "ended refused runner moved passed lost gap event".split(" ");

class Client {
  #waits = new Set();

  constructor(name) {
    this.name = name;
    this.options = {
      random: () => 0.5,
      schedule: (task, delay) => {
        this.#waits.add(task);
        this.report("wait", delay);
        return () => this.#waits.delete(task);
      },
    };
  }

  publish({ url, token, capacity }) {
    this.#start(new Publisher(url, token, { capacity, ...this.options }));
  }

  follow({ url, follow }) {
    this.#start(new Spectator(url, follow, this.options));
  }

  #start(client) {
    this.client = client;
    for (const name of CALLBACKS) {
      const property = `on${name[0].toUpperCase()}${name.slice(1)}`;
      if (property in client) {
        client[property] = (...args) => this.report(name, ...args);
      }
    }
    client.start();
  }

  add({ fixes }) {
    this.report("added", fixes.filter((fix) => this.client.add(fix)).length);
  }

  async flush() {
    await this.client.flush();
    this.report("flushed");
  }

  stop() {
    this.client.stop();
    this.report("stopped", this.client.pending ?? []);
  }

  elapse() {
    const tasks = [...this.#waits];
    this.#waits.clear();
    for (const task of tasks) task();
  }

  report(event, ...args) {
    console.log(JSON.stringify({ client: this.name, event, args }));
  }
}

const clients = new Map();
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  if (!clients.has(command.client)) clients.set(command.client, new Client(command.client));
  clients.get(command.client)[command.do](command);
}
process.exit();
