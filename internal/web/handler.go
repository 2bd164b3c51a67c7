package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/concord-home/concord"
	"github.com/concord-home/concord/internal/spans"
)

// maxBody is what a request may send; the largest that people send is a service
// call.
const maxBody = 1 << 20

// handlerFunc answers a request or returns an error, never both.
type handlerFunc func(w http.ResponseWriter, r *http.Request) error

// errPanic is the cause of an error that began as a panic.
var errPanic = errors.New("handler panicked")

// serve wraps a handler of route with what every route has: correlation id,
// headers, limits, recovery, log and metrics.
func (s *Server) serve(route string, timeout time.Duration, h handlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		ctx, span := s.serveSpan(r, route, timeout)
		id := correlationID(r.Header, span.TraceID())
		ctx = concord.WithCorrelationID(ctx, id)
		if timeout > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, timeout)
			defer cancel()
			s.metrics.inFlight.Inc()
			defer s.metrics.inFlight.Dec()
		}
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		setHeaders(w.Header(), id)
		rec := &recorder{ResponseWriter: w}
		err := s.guard(ctx, func() error { return h(rec, r) })
		s.finish(rec, r, route, began, err)
		endSpan(span, id, rec.status(), err)
	})
}

// serveSpan begins the span of a request. What lasts as long as a screen has
// none: its commands and events have their own.
func (s *Server) serveSpan(r *http.Request, route string, timeout time.Duration) (context.Context, spans.Span) {
	if timeout == 0 {
		return r.Context(), spans.Span{}
	}
	ctx, span := s.Tracer.Serve(r.Context(), r.Header, route)
	span.SetText("http.request.method", r.Method)
	span.SetText("http.route", route)
	return ctx, span
}

func endSpan(span spans.Span, correlationID string, status int, err error) {
	span.SetText("concord.correlation_id", correlationID)
	span.SetNumber("http.response.status_code", status)
	if err == nil {
		span.End(nil, "")
		return
	}
	span.End(err, string(concord.ErrorCode(err)))
}

// guard runs f and turns a panic into an error, so that it costs one request.
func (s *Server) guard(ctx context.Context, f func() error) (err error) {
	defer func() {
		v := recover()
		if v == nil {
			return
		}
		if v == http.ErrAbortHandler {
			panic(v)
		}
		s.metrics.panics.Inc()
		s.Logger.ErrorContext(ctx, "handler panicked", "correlation_id", concord.CorrelationID(ctx),
			"panic", fmt.Sprint(v), "stack", string(debug.Stack()))
		err = errPanic
	}()
	return f()
}

// finish turns the outcome of a request into status, body, log line and
// counters. It is the only place that does.
func (s *Server) finish(w *recorder, r *http.Request, route string, began time.Time, err error) {
	if err != nil {
		s.countError(err)
		if !w.wrote {
			writeError(w, r, err)
		}
	}
	took := time.Since(began)
	s.metrics.requests.WithLabelValues(route, strconv.Itoa(w.status()/100)+"xx").Inc()
	if w.code != http.StatusSwitchingProtocols {
		s.metrics.duration.WithLabelValues(route).Observe(took.Seconds())
	}
	level := slog.LevelDebug
	if err != nil {
		level = logLevel(err)
	}
	if !s.Logger.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("correlation_id", concord.CorrelationID(r.Context())), slog.String("route", route),
		slog.Int("status", w.status()), slog.Int64("bytes", w.bytes), slog.Duration("took", took),
		slog.String("client", s.clientAddress(r)),
	}
	if err != nil {
		attrs = append(attrs, slog.Any("error", err))
	}
	s.Logger.LogAttrs(r.Context(), level, "request", attrs...)
}

func (s *Server) countError(err error) {
	s.metrics.errors.WithLabelValues(string(concord.ErrorCode(err))).Inc()
}

// logLevel says how much an error matters to whoever runs the server.
func logLevel(err error) slog.Level {
	switch concord.ErrorCode(err) {
	case concord.CodeInternal:
		if errors.Is(err, context.Canceled) {
			return slog.LevelDebug // the caller went away
		}
		return slog.LevelError
	case concord.CodeConflict:
		return slog.LevelError
	case concord.CodeUnavailable, concord.CodeTimeout, concord.CodeTooMany:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// statusOf is the HTTP status of each code.
var statusOf = map[concord.Code]int{
	concord.CodeInternal:     http.StatusInternalServerError,
	concord.CodeInvalid:      http.StatusBadRequest,
	concord.CodeNotFound:     http.StatusNotFound,
	concord.CodeUnauthorized: http.StatusUnauthorized,
	concord.CodeForbidden:    http.StatusForbidden,
	concord.CodeConflict:     http.StatusConflict,
	concord.CodeUnavailable:  http.StatusServiceUnavailable,
	concord.CodeTooMany:      http.StatusTooManyRequests,
	concord.CodeTimeout:      http.StatusGatewayTimeout,
}

// writeError answers in the shape that the caller reads: {"message": …}, as
// Home Assistant's REST API does.
func writeError(w http.ResponseWriter, r *http.Request, err error) {
	var tooLarge *http.MaxBytesError
	status := statusOf[concord.ErrorCode(err)]
	if errors.As(err, &tooLarge) {
		status = http.StatusRequestEntityTooLarge
	}
	body := map[string]string{"message": concord.ErrorMessage(err)}
	if status == http.StatusInternalServerError {
		body["correlation_id"] = concord.CorrelationID(r.Context())
	}
	_ = writeJSON(w, status, body) // nobody is left to tell
}

// writeJSON answers with v. An error means that v cannot be encoded, or that
// the caller went away.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode answer: %w", err)
	}
	return writeBytes(w, status, body)
}

func writeBytes(w http.ResponseWriter, status int, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, err := w.Write(body)
	return err
}

// setHeaders sets what every answer carries. The page replaces the policy by
// its own.
func setHeaders(h http.Header, id string) {
	h.Set("X-Request-Id", id)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// recorder notes what was answered.
type recorder struct {
	http.ResponseWriter
	code  int
	bytes int64
	wrote bool
}

func (w *recorder) WriteHeader(code int) {
	if !w.wrote && code >= 200 || code == http.StatusSwitchingProtocols {
		w.code, w.wrote = code, true
	}
	w.ResponseWriter.WriteHeader(code)
}

func (w *recorder) Write(b []byte) (int, error) {
	w.wrote = true
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) status() int {
	if w.code == 0 {
		return http.StatusOK
	}
	return w.code
}
