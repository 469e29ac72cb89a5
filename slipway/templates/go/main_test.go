package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func get(t *testing.T, target string) (int, map[string]any) {
	t.Helper()
	recorder := httptest.NewRecorder()
	handler().ServeHTTP(recorder, httptest.NewRequest(http.MethodGet, target, nil))
	var body map[string]any
	if err := json.Unmarshal(recorder.Body.Bytes(), &body); err != nil {
		t.Fatalf("GET %s answered %q: %v", target, recorder.Body, err)
	}
	return recorder.Code, body
}

func TestHello(t *testing.T) {
	for name, expected := range map[string]string{"": "Hello, world!", " Ada ": "Hello, Ada!", `"Ü"`: `Hello, "Ü"!`} {
		status, body := get(t, "/hello?name="+url.QueryEscape(name))
		if status != http.StatusOK || body["greeting"] != expected || body["service"] != service {
			t.Errorf("name %q: %d %v", name, status, body)
		}
	}
}

func TestALongNameIsRefused(t *testing.T) {
	if status, body := get(t, "/hello?name="+strings.Repeat("x", 101)); status != 422 || body["field"] != "name" {
		t.Errorf("%d %v", status, body)
	}
}

func TestHealth(t *testing.T) {
	for _, path := range []string{"/healthz", "/readyz"} {
		if status, body := get(t, path); status != http.StatusOK {
			t.Errorf("%s: %d %v", path, status, body)
		}
	}
}

func TestRequestsUnderWayAreFinished(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	begun, goOn := make(chan struct{}), make(chan struct{})
	slow := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(begun)
		<-goOn
		io.WriteString(w, "done")
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx, listener, slow) }()
	answered := make(chan string, 1)
	go func() {
		response, err := http.Get("http://" + listener.Addr().String())
		if err != nil {
			answered <- err.Error()
			return
		}
		defer response.Body.Close()
		body, _ := io.ReadAll(response.Body)
		answered <- string(body)
	}()
	<-begun
	stop()
	select {
	case err := <-ended:
		t.Fatalf("it ended with a request under way: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	close(goOn)
	if body := <-answered; body != "done" {
		t.Errorf("the request under way was answered %q", body)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestPort(t *testing.T) {
	if port, err := portOf("9000"); port != 9000 || err != nil {
		t.Errorf("%d %v", port, err)
	}
	for _, text := range []string{"0", "65536", "-1", "http"} {
		if _, err := portOf(text); err == nil {
			t.Errorf("%q is taken for a port", text)
		}
	}
}
