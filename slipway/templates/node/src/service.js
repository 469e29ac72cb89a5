/** The HTTP interface of sample-service. */

import { createServer } from "node:http";
import { log } from "./log.js";

const SERVICE = "sample-service";
const MAX_NAME_LENGTH = 100;

/** What each path answers to GET: a status and a body, which is sent as JSON. */
const ROUTES = {
  "/hello": hello,
  "/healthz": () => [200, { status: "ok" }],
  // What it cannot work without, such as a database, is asked here: 503 takes the pod out of the Service.
  "/readyz": () => [200, { status: "ready" }],
};

/** Greets `name`, or the world; 422 where the name is too long. */
function hello(query) {
  const name = (query.get("name") ?? "").trim() || "world";
  if ([...name].length > MAX_NAME_LENGTH) {
    return [422, { field: "name", message: `Should have at most ${MAX_NAME_LENGTH} characters` }];
  }
  return [200, { greeting: `Hello, ${name}!`, service: SERVICE }];
}

async function answer(request) {
  const { pathname, searchParams } = new URL(request.url, "http://service");
  if (!Object.hasOwn(ROUTES, pathname)) {
    return [404, { message: "Not found" }];
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    return [405, { message: "Allowed are GET and HEAD" }];
  }
  return ROUTES[pathname](searchParams);
}

/** An HTTP server that does not listen yet. */
export function createService() {
  const server = createServer(async (request, response) => {
    let [status, body] = [500, { message: "Internal server error" }];
    try {
      [status, body] = await answer(request);
    } catch (error) {
      log("error", error.message, { stack: error.stack });
    }
    response.statusCode = status;
    response.setHeader("Content-Type", "application/json");
    if (!server.listening) {
      // It is being stopped, and waits for its connections.
      response.setHeader("Connection", "close");
    }
    response.end(`${JSON.stringify(body)}\n`);
  });
  // Longer than clients keep idle connections, so that the client is the one who closes.
  server.keepAliveTimeout = 75_000;
  return server;
}
