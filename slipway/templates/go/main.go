// sample-service greets whoever asks.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"
)

const (
	service       = "sample-service"
	maxNameLength = 100
	// After SIGTERM requests under way may finish; less than the 30 s a pod is given, with the drain before it.
	shutdownTimeout = 20 * time.Second
	// Longer than clients keep idle connections, so that the client is the one who closes.
	idleTimeout = 75 * time.Second
)

func main() {
	var level slog.Level
	if err := level.UnmarshalText([]byte(environment("LOG_LEVEL", "info"))); err != nil {
		exit(fmt.Errorf("LOG_LEVEL is %q; allowed are debug, info, warn and error", os.Getenv("LOG_LEVEL")))
	}
	options := slog.HandlerOptions{Level: level}
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, &options)).With("service", service))
	port, err := portOf(environment("PORT", "8080"))
	if err != nil {
		exit(err)
	}
	listener, err := net.Listen("tcp", fmt.Sprintf(":%d", port))
	if err != nil {
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	slog.Info("listening", "port", port)
	if err := serve(ctx, listener, handler()); err != nil {
		exit(err)
	}
	slog.Info("stopped")
}

// handler is the HTTP interface.
func handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /hello", hello)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"status": "ok"})
	})
	// What it cannot work without, such as a database, is asked here: 503 takes the pod out of the Service.
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{"status": "ready"})
	})
	return mux
}

// hello greets `name`, or the world; 422 where the name is too long.
func hello(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimSpace(r.URL.Query().Get("name"))
	if name == "" {
		name = "world"
	}
	if utf8.RuneCountInString(name) > maxNameLength {
		message := fmt.Sprintf("Should have at most %d characters", maxNameLength)
		answer(w, http.StatusUnprocessableEntity, map[string]any{"field": "name", "message": message})
		return
	}
	answer(w, http.StatusOK, map[string]any{"greeting": "Hello, " + name + "!", "service": service})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		slog.Warn("the answer could not be written", "error", err.Error())
	}
}

// serve answers until ctx is done, and then finishes the requests under way.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: idleTimeout}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	if err := server.Shutdown(last); err != nil {
		return fmt.Errorf("requests were under way for more than %s: %w", shutdownTimeout, err)
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func portOf(text string) (uint16, error) {
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return 0, fmt.Errorf("PORT is %q; allowed is a number from 1 to 65535", text)
	}
	return uint16(port), nil
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func exit(err error) {
	slog.Error(err.Error())
	os.Exit(1)
}
