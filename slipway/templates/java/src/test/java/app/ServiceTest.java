package app;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The greeting through HTTP. */
class ServiceTest {
    private final HttpClient client = HttpClient.newHttpClient();
    private Service service;

    @BeforeEach
    void start() throws IOException {
        service = new Service(0);
        service.start();
    }

    @AfterEach
    void stop() {
        service.stop(Duration.ZERO);
    }

    private HttpResponse<String> get(String path) throws IOException, InterruptedException {
        URI address = URI.create("http://127.0.0.1:" + service.port() + path);
        return client.send(HttpRequest.newBuilder(address).build(), HttpResponse.BodyHandlers.ofString());
    }

    private HttpResponse<String> hello(String name) throws IOException, InterruptedException {
        return get("/hello?name=" + URLEncoder.encode(name, StandardCharsets.UTF_8));
    }

    @Test
    void whoAsksIsGreeted() throws Exception {
        assertEquals(200, get("/hello").statusCode());
        assertTrue(get("/hello").body().contains("\"greeting\":\"Hello, world!\""));
        assertTrue(hello(" Ada ").body().contains("\"Hello, Ada!\""));
        assertTrue(hello("\"\n").body().contains("\"Hello, \\\"!\""));
    }

    @Test
    void aLongNameIsRefused() throws Exception {
        assertEquals(422, hello("x".repeat(101)).statusCode());
    }

    @Test
    void itSaysThatItLivesAndIsReady() throws Exception {
        assertEquals(200, get("/healthz").statusCode());
        assertEquals(200, get("/readyz").statusCode());
        assertEquals(404, get("/other").statusCode());
    }

    @Test
    void onceStoppedItAnswersNoMore() throws Exception {
        assertEquals(200, get("/healthz").statusCode());
        service.stop(Duration.ofSeconds(5));
        assertThrows(ConnectException.class, () -> get("/healthz"));
    }

    @Test
    void aPortThatIsNoneIsRefused() {
        assertEquals(9000, Main.port("9000"));
        for (String text : new String[] {"0", "65536", "-1", "http"}) {
            assertThrows(IllegalArgumentException.class, () -> Main.port(text));
        }
    }
}
