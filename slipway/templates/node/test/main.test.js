/** sample-service as the process that runs in a pod. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { test } from "node:test";

const MAIN = fileURLToPath(new URL("../src/main.js", import.meta.url));

/** Its process, and a promise of all that it prints. */
function start(port) {
  const env = { ...process.env, LOG_LEVEL: "info", PORT: String(port) };
  const child = spawn(process.execPath, [MAIN], { env, stdio: ["ignore", "pipe", "inherit"] });
  child.stdout.setEncoding("utf8");
  return child;
}

async function freePort() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  return port;
}

test("it ends in order when its pod does", { timeout: 30_000 }, async () => {
  const port = await freePort();
  const child = start(port);
  try {
    assert.match((await once(child.stdout, "data"))[0], /listening/);
    assert.equal((await fetch(`http://127.0.0.1:${port}/healthz`)).status, 200);
    child.kill("SIGTERM");
    assert.deepEqual(await once(child, "exit"), [0, null]);
  } finally {
    child.kill("SIGKILL");
  }
});

test("a port that is none ends it with one line", { timeout: 30_000 }, async () => {
  const child = start("http");
  let printed = "";
  child.stdout.on("data", (text) => (printed += text));
  assert.deepEqual(await once(child, "close"), [1, null]);
  assert.match(printed, /PORT is \\"http\\"; allowed is a number from 1 to 65535/);
});
