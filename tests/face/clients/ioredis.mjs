// Writes through Sentinel with ioredis: one key after the other, each acknowledged one on a line of its own.
import { Redis } from "ioredis";

const [endpoints, name, prefix, sentinelPassword] = process.argv.slice(2);
const sentinels = endpoints.split(",").map((place) => {
  const at = place.lastIndexOf(":");
  return { host: place.slice(0, at), port: Number(place.slice(at + 1)) };
});
const client = new Redis({
  sentinels,
  name,
  sentinelPassword: sentinelPassword || undefined,
  commandTimeout: 500,
  failoverDetector: true,
  maxRetriesPerRequest: 0,
  reconnectOnError: (error) => (error.message.startsWith("READONLY") ? 2 : false),
});
client.on("error", () => {});
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
for (let number = 1; ; number++) {
  const key = `${prefix}-${number}`;
  try {
    if ((await client.set(key, number)) === "OK") console.log(key);
  } catch {
    await sleep(5);
  }
  await sleep(2);
}
