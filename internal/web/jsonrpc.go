package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/concord-home/concord"
)

// rpcCall is one JSON-RPC call as a method sees it.
type rpcCall struct {
	w      http.ResponseWriter // for cookies only
	r      *http.Request
	params json.RawMessage
}

// decode reads the parameters into dst. The names of missing and superfluous
// ones are the method's own business.
func (c *rpcCall) decode(dst any) error {
	if len(c.params) == 0 || string(c.params) == "null" {
		return nil
	}
	if err := json.Unmarshal(c.params, dst); err != nil {
		return &concord.Error{Code: concord.CodeInvalid, Message: "Invalid parameters", Err: err}
	}
	return nil
}

// rpcFunc carries out a call. What it returns becomes "result"; an error becomes
// {"success": false, …}, but for an [rpcError], which becomes "error".
type rpcFunc func(ctx context.Context, c *rpcCall) (any, error)

// Codes of the envelope's "error", as Odoo has them.
const (
	rpcFault          = 200
	rpcSessionExpired = 100
	rpcParse          = -32700
)

// rpcError is answered in the envelope, as Odoo answers what fails outside of
// the add-on's handlers.
type rpcError struct {
	code    int
	message string // of the envelope
	name    string // class of the exception that Odoo would have raised
	err     error  // its message is shown
}

func (e *rpcError) Error() string { return e.message + ": " + e.err.Error() }
func (e *rpcError) Unwrap() error { return e.err }

func sessionExpired(err error) error {
	return &rpcError{code: rpcSessionExpired, message: "Odoo Session Expired", name: "odoo.http.SessionExpiredException", err: err}
}

// missing is what a call without a required parameter gets.
func missing(endpoint, param string) error {
	return &rpcError{code: rpcFault, message: "Odoo Server Error", name: "builtins.TypeError", err: concord.Errorf(concord.CodeInvalid,
		"AwesomeDashboard.%s() missing 1 required positional argument: '%s'", endpoint, param)}
}

func (e *rpcError) body() any {
	message := concord.ErrorMessage(e.err)
	return map[string]any{
		"code": e.code, "message": e.message,
		"data": map[string]any{
			"name": e.name, "debug": "", "message": message, "arguments": []string{message}, "context": struct{}{},
		},
	}
}

// jsonRPC serves f to everyone.
func (s *Server) jsonRPC(endpoint string, f rpcFunc) handlerFunc {
	return func(w http.ResponseWriter, r *http.Request) error {
		if !isJSON(r.Header) {
			return concord.Errorf(concord.CodeInvalid, "The request's Content-Type must be application/json")
		}
		var request struct {
			ID     json.RawMessage `json:"id"`
			Params json.RawMessage `json:"params"`
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return &concord.Error{Code: concord.CodeInvalid, Message: "The request's body cannot be read", Err: err}
		}
		if err := json.Unmarshal(body, &request); err != nil {
			return parseError(w, err)
		}
		var result any
		err = s.guard(r.Context(), func() (err error) {
			result, err = f(r.Context(), &rpcCall{w: w, r: r, params: request.Params})
			return err
		})
		return s.answerRPC(w, r, endpoint, request.ID, result, err)
	}
}

// userRPC serves f to those who have a session.
func (s *Server) userRPC(endpoint string, f rpcFunc) handlerFunc {
	return s.jsonRPC(endpoint, func(ctx context.Context, c *rpcCall) (any, error) {
		id, err := s.identify(c.r)
		if concord.ErrorCode(err) == concord.CodeUnauthorized {
			return nil, sessionExpired(err)
		}
		if err != nil {
			return nil, err
		}
		return f(context.WithValue(ctx, identityKey{}, id), c)
	})
}

func parseError(w http.ResponseWriter, err error) error {
	werr := writeJSON(w, http.StatusBadRequest, map[string]any{
		"jsonrpc": "2.0", "id": nil,
		"error": map[string]any{"code": rpcParse, "message": "Invalid JSON data", "data": map[string]any{
			"name": "werkzeug.exceptions.BadRequest", "debug": "", "message": "Invalid JSON data", "arguments": []string{"Invalid JSON data"}, "context": struct{}{},
		}},
	})
	return errors.Join(&concord.Error{Code: concord.CodeInvalid, Message: "Invalid JSON data", Err: err}, werr)
}

// answerRPC writes the envelope: status 200, whatever happened, but for a caller
// who has to slow down.
func (s *Server) answerRPC(w http.ResponseWriter, r *http.Request, endpoint string, id json.RawMessage, result any, err error) error {
	outcome := "ok"
	if err != nil {
		outcome = string(concord.ErrorCode(err))
	}
	s.metrics.rpc.WithLabelValues(endpoint, outcome).Inc()
	member, status := "result", http.StatusOK
	if fault, ok := errors.AsType[*rpcError](err); ok {
		member, result = "error", fault.body()
		if fault.code == rpcSessionExpired {
			id = nil // as Odoo: it looks for the session before it reads the call
		}
	} else if err != nil {
		result = s.failure(r.Context(), err)
	}
	if concord.ErrorCode(err) == concord.CodeTooMany {
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", "10")
	}
	body, werr := envelope(id, member, result)
	if werr == nil {
		werr = writeBytes(w, status, body)
	}
	if werr != nil {
		return errors.Join(err, fmt.Errorf("answer %s: %w", endpoint, werr))
	}
	return err
}

// envelope puts the answer together. A result that is encoded already goes in
// as it is: encoding/json would read all of it once more.
func envelope(id json.RawMessage, member string, result any) ([]byte, error) {
	body, encoded := result.(json.RawMessage)
	if !encoded {
		var err error
		if body, err = json.Marshal(result); err != nil {
			return nil, err
		}
	}
	if id == nil {
		id = json.RawMessage("null")
	}
	b := make([]byte, 0, len(body)+len(id)+64)
	b = append(append(b, `{"jsonrpc":"2.0","id":`...), id...)
	b = append(append(append(b, `,"`...), member...), `":`...)
	return append(append(b, body...), '}'), nil
}

// conflictMessage is what clients of the add-on know.
const conflictMessage = "Database conflict, please try again"

// failure is the result of a call that failed.
func (s *Server) failure(ctx context.Context, err error) map[string]any {
	body := map[string]any{"success": false, "error": concord.ErrorMessage(err), "error_type": errorType(err)}
	switch concord.ErrorCode(err) {
	case concord.CodeConflict:
		body["error"] = conflictMessage
	case concord.CodeInternal:
		body["error"] = "Unexpected error"
		body["correlation_id"] = concord.CorrelationID(ctx)
	}
	return body
}

// typedError is an error whose error_type the add-on has a word of its own for.
type typedError struct {
	error
	kind string
}

func (e typedError) Unwrap() error { return e.error }

// errorType is the add-on's word for a kind of failure.
func errorType(err error) string {
	if t, ok := errors.AsType[typedError](err); ok {
		return t.kind
	}
	switch concord.ErrorCode(err) {
	case concord.CodeInvalid:
		return "validation_error"
	case concord.CodeNotFound:
		return "not_found"
	case concord.CodeForbidden:
		return "access_denied"
	case concord.CodeConflict:
		return "conflict"
	case concord.CodeUnavailable, concord.CodeTimeout:
		return "connection_error"
	}
	return "system_error"
}

// ok wraps data as the add-on does.
func ok(data any) map[string]any { return map[string]any{"success": true, "data": data} }
