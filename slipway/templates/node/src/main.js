/** Starts sample-service, and stops it when its pod ends. */

import { log } from "./log.js";
import { createService } from "./service.js";

// After SIGTERM requests under way may finish; less than the 30 s a pod is given, with the drain before it.
const SHUTDOWN_MILLISECONDS = 20_000;

const text = process.env.PORT || "8080";
const port = Number(text);
if (!/^\d+$/.test(text) || port < 1 || port > 65535) {
  log("error", `PORT is ${JSON.stringify(text)}; allowed is a number from 1 to 65535`);
  process.exit(1);
}

const server = createService();
server.on("error", (error) => {
  log("error", error.message);
  process.exit(1);
});
server.listen(port, () => log("info", `listening on port ${port}`));

for (const signal of ["SIGTERM", "SIGINT"]) {
  process.once(signal, () => {
    log("info", `${signal}: finishing the requests under way`);
    server.close(() => log("info", "stopped"));
    setTimeout(() => server.closeAllConnections(), SHUTDOWN_MILLISECONDS).unref();
  });
}
