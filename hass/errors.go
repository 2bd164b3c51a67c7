package hass

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/coder/websocket"
)

// Errors of the client. Use errors.Is.
var (
	// ErrAuthInvalid says that the home refused the token. It is final: trying
	// again with the same token only gets the client banned.
	ErrAuthInvalid = errors.New("the home refused the access token; make a new long-lived access token there")
	// ErrNotConnected says that a command was not sent.
	ErrNotConnected = errors.New("not connected to the home")
	// ErrConnectionLost says that a command was sent and the connection ended
	// before the answer; whether the home carried it out is not known.
	ErrConnectionLost = errors.New("connection to the home lost before the answer")
	// ErrProtocol says that the other side does not speak Home Assistant's
	// WebSocket API.
	ErrProtocol = errors.New("the other side does not speak Home Assistant's WebSocket API")
	// ErrSilent says that the home sent nothing, not even answers to pings, for
	// Options.HeartbeatTimeout.
	ErrSilent = errors.New("the home does not answer any more")
)

// Error codes of Home Assistant, for CommandError.Code.
const (
	CodeIDReuse           = "id_reuse"
	CodeInvalidFormat     = "invalid_format"
	CodeNotFound          = "not_found"
	CodeNotSupported      = "not_supported"
	CodeNotAllowed        = "not_allowed"
	CodeHomeAssistant     = "home_assistant_error"
	CodeServiceValidation = "service_validation_error"
	CodeTemplate          = "template_error"
	CodeTimeout           = "timeout"
	CodeUnauthorized      = "unauthorized"
	CodeUnknownCommand    = "unknown_command"
	CodeUnknown           = "unknown_error"
)

// CommandError is the home's refusal of a command.
type CommandError struct {
	Code                    string          `json:"code"` // one of the Code… constants, or a later one
	Message                 string          `json:"message"`
	TranslationKey          string          `json:"translation_key,omitempty"`
	TranslationDomain       string          `json:"translation_domain,omitempty"`
	TranslationPlaceholders json.RawMessage `json:"translation_placeholders,omitempty"`
}

func (e *CommandError) Error() string { return e.Message + " (" + e.Code + ")" }

// explain turns what the network says into one line for people. The result
// wraps err.
func explain(err error, limit int64) error {
	var dns *net.DNSError
	var op *net.OpError
	var unknownCA x509.UnknownAuthorityError
	var wrongHost x509.HostnameError
	switch {
	case errors.Is(err, websocket.ErrMessageTooBig):
		return explained{fmt.Sprintf("the home sent a frame above the limit of %d bytes", limit), err}
	case errors.As(err, &unknownCA):
		return explained{"the home's certificate is signed by an unknown authority", err}
	case errors.As(err, &wrongHost):
		return explained{"the home's certificate is for another host name", err}
	case errors.As(err, &dns):
		return explained{"the host name of the home cannot be resolved: " + dns.Name, err}
	case errors.As(err, &op) && op.Op == "dial":
		return explained{"cannot reach the home: " + oneLine(op.Error()), err}
	case errors.Is(err, context.DeadlineExceeded):
		return explained{"the home does not answer in time", err}
	}
	if code := websocket.CloseStatus(err); code != -1 {
		return explained{fmt.Sprintf("the home closed the connection (%d)", int(code)), err}
	}
	return err
}

type explained struct {
	text string
	err  error
}

func (e explained) Error() string { return e.text }
func (e explained) Unwrap() error { return e.err }

// oneLine makes any text fit for a log line and a status page.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}
