package app;

import java.io.IOException;
import java.time.Duration;

/** Starts sample-service, and stops it when its pod ends. */
public final class Main {
    // After SIGTERM requests under way may finish; less than the 30 s a pod is given, with the drain before it.
    private static final Duration SHUTDOWN_TIMEOUT = Duration.ofSeconds(20);

    private Main() {}

    public static void main(String[] arguments) throws IOException {
        int port;
        try {
            port = port(System.getenv().getOrDefault("PORT", "8080"));
        } catch (IllegalArgumentException error) {
            Log.error(error.getMessage());
            System.exit(1);
            return;
        }
        Service service = new Service(port);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            service.stop(SHUTDOWN_TIMEOUT);
            Log.info("stopped");
            // Ended by SIGTERM as it should be, and not as by a failure.
            Runtime.getRuntime().halt(0);
        }));
        service.start();
        Log.info("listening on port " + port);
    }

    static int port(String text) {
        try {
            int port = Integer.parseInt(text);
            if (port >= 1 && port <= 65535) {
                return port;
            }
        } catch (NumberFormatException error) {
            // said below
        }
        throw new IllegalArgumentException("PORT is " + Json.text(text) + "; allowed is a number from 1 to 65535");
    }
}
