/** Logs as one JSON object a line on stdout. */

const LEVELS = ["debug", "info", "warn", "error"];
// One that is none of them lets everything through.
const lowest = LEVELS.indexOf(process.env.LOG_LEVEL || "info");

export function log(level, message, fields = {}) {
  if (LEVELS.indexOf(level) >= lowest) {
    const line = { time: new Date().toISOString(), level, service: "sample-service", message, ...fields };
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}
