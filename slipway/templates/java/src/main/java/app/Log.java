package app;

import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.Map;

/** Logs as one JSON object a line on stdout. */
final class Log {
    private Log() {}

    static void info(String message) {
        write("info", message);
    }

    static void error(String message) {
        write("error", message);
    }

    private static void write(String level, String message) {
        Map<String, String> line = new LinkedHashMap<>();
        line.put("time", Instant.now().toString());
        line.put("level", level);
        line.put("service", Service.NAME);
        line.put("message", message);
        System.out.println(Json.object(line));
    }
}
