/** The greeting through HTTP. */

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { createService } from "../src/service.js";

const server = createService();
let address;

before(async () => {
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  address = `http://127.0.0.1:${server.address().port}`;
});
after(() => {
  server.close();
  server.closeAllConnections();
});

async function get(path) {
  const response = await fetch(address + path);
  return [response.status, await response.json()];
}

test("who asks is greeted", async () => {
  assert.deepEqual(await get("/hello"), [200, { greeting: "Hello, world!", service: "sample-service" }]);
  const [, body] = await get(`/hello?name=${encodeURIComponent(' "Ü" ')}`);
  assert.equal(body.greeting, 'Hello, "Ü"!');
});

test("a long name is refused", async () => {
  const [status, body] = await get(`/hello?name=${"x".repeat(101)}`);
  assert.deepEqual([status, body.field], [422, "name"]);
});

test("it says that it lives and is ready", async () => {
  assert.equal((await get("/healthz"))[0], 200);
  assert.equal((await get("/readyz"))[0], 200);
});

test("what it does not have is not found", async () => {
  assert.equal((await get("/constructor"))[0], 404);
  assert.equal((await fetch(`${address}/hello`, { method: "POST" })).status, 405);
});
