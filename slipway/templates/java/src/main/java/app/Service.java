package app;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

/** The HTTP interface of sample-service. */
final class Service {
    static final String NAME = "sample-service";
    private static final int MAX_NAME_LENGTH = 100;
    private static final int THREADS = 16;

    private final HttpServer server;
    private final ExecutorService threads = Executors.newFixedThreadPool(THREADS);
    private final AtomicInteger underWay = new AtomicInteger();

    /** Listens on `port`, on any free one for 0, and answers once it is started. */
    Service(int port) throws IOException {
        server = HttpServer.create(new InetSocketAddress(port), 0);
        server.setExecutor(threads);
        server.createContext("/", this::handle);
    }

    void start() {
        server.start();
    }

    int port() {
        return server.getAddress().getPort();
    }

    /** Waits for the requests under way, and then closes what is open. */
    void stop(Duration timeout) {
        long end = System.nanoTime() + timeout.toNanos();
        try {
            while (underWay.get() > 0 && System.nanoTime() < end) {
                Thread.sleep(20);
            }
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
        server.stop(0);
        threads.shutdown();
    }

    private void handle(HttpExchange exchange) throws IOException {
        underWay.incrementAndGet();
        try {
            answer(exchange);
        } catch (RuntimeException error) {
            Log.error(error.toString());
            send(exchange, 500, Map.of("message", "Internal server error"));
        } finally {
            exchange.close();
            underWay.decrementAndGet();
        }
    }

    private static void answer(HttpExchange exchange) throws IOException {
        String path = exchange.getRequestURI().getPath();
        switch (path) {
            case "/hello" -> hello(exchange);
            case "/healthz" -> send(exchange, 200, Map.of("status", "ok"));
            // What it cannot work without, such as a database, is asked here: 503 takes the pod out of the Service.
            case "/readyz" -> send(exchange, 200, Map.of("status", "ready"));
            default -> send(exchange, 404, Map.of("message", "Not found"));
        }
    }

    /** Greets `name`, or the world; 422 where the name is too long. */
    private static void hello(HttpExchange exchange) throws IOException {
        String name = parameter(exchange, "name").strip();
        if (name.codePointCount(0, name.length()) > MAX_NAME_LENGTH) {
            String message = "Should have at most " + MAX_NAME_LENGTH + " characters";
            send(exchange, 422, Map.of("field", "name", "message", message));
            return;
        }
        String greeting = "Hello, " + (name.isEmpty() ? "world" : name) + "!";
        send(exchange, 200, Map.of("greeting", greeting, "service", NAME));
    }

    private static String parameter(HttpExchange exchange, String name) {
        String query = exchange.getRequestURI().getRawQuery();
        for (String each : query == null ? new String[0] : query.split("&")) {
            if (each.startsWith(name + "=")) {
                return URLDecoder.decode(each.substring(name.length() + 1), StandardCharsets.UTF_8);
            }
        }
        return "";
    }

    private static void send(HttpExchange exchange, int status, Map<String, String> fields) throws IOException {
        byte[] body = (Json.object(fields) + "\n").getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "application/json");
        boolean head = exchange.getRequestMethod().equals("HEAD");
        exchange.sendResponseHeaders(status, head ? -1 : body.length);
        if (!head) {
            exchange.getResponseBody().write(body);
        }
    }
}
