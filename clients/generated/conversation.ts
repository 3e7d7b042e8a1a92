// Clients with the types that openapi-typescript made, with a server: `URL TOKEN KEY`.

import createClient from "openapi-fetch";
import type { paths as Live } from "./live.js";
import type { paths as Organisers } from "./organisers.js";

declare const process: { argv: string[] };

function known<T>(value: T | undefined, problem: unknown): T {
  if (value === undefined) throw new Error(JSON.stringify(problem));
  return value;
}

const [url, token, key] = process.argv.slice(2);
const live = createClient<Live>({ baseUrl: url });
const ack = await live.POST("/intake/generic/{token}/", {
  params: { path: { token } },
  body: { lat: 48.6, lon: 2.1 },
});
known(ack.data, ack.error);
const snapshot = await live.GET("/live.json", { params: { query: { runners: "generated" } } });
const [runner] = known(snapshot.data, snapshot.error).runners;
if (runner.fix === null) throw new Error("There is no position.");

const office = createClient<Organisers>({
  baseUrl: url,
  headers: { Authorization: `Bearer ${key}` },
});
const written = await office.PUT("/api/v1/races/{slug}", {
  params: { path: { slug: "typescript" } },
  body: {
    name: "Spring run",
    start: "2027-04-03T10:00:00Z",
    timezone: "UTC",
    visibility: "public",
    top_speed: 12.5,
  },
});
known(written.data, written.error);
const page = await office.GET("/api/v1/races");
const slugs = known(page.data, page.error).items.map((race) => race.slug);
if (!slugs.includes("typescript")) throw new Error(`Only ${slugs}`);
