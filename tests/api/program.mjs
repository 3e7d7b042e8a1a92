// Runs docs/clients/client.js with the arguments of docs/clients/client.py.

import { createInterface } from "node:readline";
import { Publisher, Spectator } from "../../docs/clients/client.js";

const [command, url, more] = process.argv.slice(2);
const client =
  command === "publish" ? new Publisher(url, more) : new Spectator(url, { races: [more] });

client.onEnded = (problem) => {
  console.error(`Not reconnecting: ${problem}`);
  process.exit(1);
};

if (client instanceof Spectator) {
  const print = (code, { t, lat, lng }) => console.log(code, t, lat, lng);
  client.onMoved = client.onPassed = print;
  client.start();
} else {
  client.start();
  for await (const line of createInterface({ input: process.stdin })) {
    client.add(JSON.parse(line));
  }
  while (client.waiting > 0) await new Promise((done) => setTimeout(done, 100));
  client.stop();
}
