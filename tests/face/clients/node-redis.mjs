// Writes through Sentinel with node-redis: one key after the other, each acknowledged one on a line of its own.
import { createSentinel } from "redis";

const [endpoints, name, prefix, password] = process.argv.slice(2);
const sentinelRootNodes = endpoints.split(",").map((place) => {
  const at = place.lastIndexOf(":");
  return { host: place.slice(0, at), port: Number(place.slice(at + 1)) };
});
const client = createSentinel({
  name,
  sentinelRootNodes,
  sentinelClientOptions: password ? { password } : {},
  scanInterval: 500,
});
client.on("error", () => {});
await client.connect();
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const timely = (promise) => Promise.race([promise, sleep(500).then(() => Promise.reject(new Error("late")))]);
for (let number = 1; ; number++) {
  const key = `${prefix}-${number}`;
  try {
    if ((await timely(client.set(key, String(number)))) === "OK") console.log(key);
  } catch {
    await sleep(5);
  }
  await sleep(2);
}
