// The JavaScript package with the arguments of `python -m spectate_client`.

import { createInterface } from "node:readline";
import { Publisher, Spectator } from "../../clients/javascript/index.js";

const [command, url, more] = process.argv.slice(2);
const client =
  command === "publish" ? new Publisher(url, more) : new Spectator(url, { races: [more] });

client.onEnded = (code, detail) => {
  console.error(`Not reconnecting: ${code}: ${detail}`);
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
  await client.flush();
  client.stop();
}
