package registry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/sr"

	"github.com/leat-stream/leat/pipeline"
)

// What can be wrong with a request, each with the class its errors are marked
// with. They arrive wrapped in an [*Error]; compare with errors.Is.
var (
	// ErrNotFound: the registry answered that it has no such id (unmarked: the
	// record's error), or not this schema under this subject (Fatal).
	ErrNotFound = errors.New("not in the registry")
	// ErrUnauthorized: 401, 403 or 407, or a client certificate that is missing or
	// refused. Fatal; Retriable when Config.TokenFunc fails.
	ErrUnauthorized = errors.New("the registry refuses the credentials")
	// ErrIncompatible: 409, the schema may not follow the subject's earlier
	// ones. Fatal.
	ErrIncompatible = errors.New("the schema is incompatible with an earlier one of its subject")
	// ErrInvalidSchema: 422, the registry cannot read the schema. Fatal.
	ErrInvalidSchema = errors.New("the registry holds the schema for invalid")
	// ErrUnavailable: no answer in time, no connection, 408, 429, 5xx, or an
	// answer that no registry gives. Retriable.
	ErrUnavailable = errors.New("the registry does not answer")
	// ErrRefused: any other refusal. Fatal.
	ErrRefused = errors.New("the registry refuses the request")
	// ErrNotRegistry: what answers at the address is no registry; the path in
	// the URL may be wrong. Fatal from Ping; Retriable, with ErrUnavailable,
	// later, when a proxy may be answering in its place.
	ErrNotRegistry = errors.New("no schema registry answers at this address")
)

// Error is a failed request. Its text names the operation, the node's URL
// without credentials, the status and the registry's own message, shortened;
// never a record's content or a secret.
type Error struct {
	// Op is what was asked for, with id or subject.
	Op string
	// URL is the base URL of the node asked last.
	URL string
	// StatusCode is the HTTP status, 0 if there was no answer.
	StatusCode int
	// Code is the registry's own error code, such as 40403; 0 if it gave none.
	Code int
	// Message is the registry's, at most 600 bytes, empty for wrong credentials.
	Message string
	// Reasons are the registry's, why a schema is incompatible, at least one with
	// ErrIncompatible from Register and MustBeCompatible. They may quote schemas.
	Reasons []string
	// Kind is one of this package's sentinels.
	Kind error
	// Cause is the error below, if any: of the connection or the context.
	Cause error
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "schema registry %s: %s: %v", e.URL, e.Op, e.Kind)
	if e.StatusCode != 0 {
		fmt.Fprintf(&b, " (status %d", e.StatusCode)
		if e.Code != 0 && e.Code != e.StatusCode {
			fmt.Fprintf(&b, ", code %d", e.Code)
		}
		b.WriteString(")")
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	if e.Cause != nil {
		fmt.Fprintf(&b, ": %v", e.Cause)
	}
	return b.String()
}

// Unwrap returns Kind and Cause.
func (e *Error) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}

// maxMessage keeps an error line readable: the refusal of an incompatible schema
// gives the reason first and then quotes both schemas.
const maxMessage = 600

func shorten(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) <= maxMessage {
		return s
	}
	n := maxMessage
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + " …"
}

// classify turns an error of the wire layer into an *Error with its mark.
func classify(op, base string, err error) error {
	e := &Error{Op: op, URL: base}
	var resp *sr.ResponseError
	if !errors.As(err, &resp) {
		return unanswered(e, err)
	}
	e.StatusCode = resp.StatusCode
	var answer struct {
		Code    int    `json:"error_code"`
		Message string `json:"message"`
	}
	// A proxy in front of the registry answers with a page, not with an object.
	own := json.Unmarshal(resp.Raw, &answer) == nil && answer.Code != 0
	if own {
		e.Code, e.Message = answer.Code, shorten(answer.Message)
	}
	switch status := resp.StatusCode; {
	case status == http.StatusUnauthorized, status == http.StatusForbidden, status == http.StatusProxyAuthRequired:
		e.Kind, e.Message = ErrUnauthorized, ""
		return pipeline.Fatal(e)
	case status == http.StatusNotFound && own:
		e.Kind = ErrNotFound
		return e
	case status == http.StatusNotFound, status < 400:
		// Taken for "no such id", a proxy's page would send every record to the
		// dead letters while the registry restarts.
		e.Kind, e.Cause = ErrUnavailable, ErrNotRegistry
		return pipeline.Retriable(e)
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		e.Kind = ErrUnavailable
		return pipeline.Retriable(e)
	case status == http.StatusConflict:
		e.Kind = ErrIncompatible
	case status == http.StatusUnprocessableEntity:
		e.Kind = ErrInvalidSchema
	default:
		e.Kind = ErrRefused
	}
	return pipeline.Fatal(e)
}

var (
	errToken     = errors.New("there is no token to send")
	errPlaintext = errors.New("it redirects from https to http, and credentials are not sent in clear")
)

// unanswered is a request to which there was no answer.
func unanswered(e *Error, err error) error {
	e.Kind, e.Cause = ErrUnavailable, transport(err)
	var cert *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errToken):
		e.Kind = ErrUnauthorized
	case errors.As(err, &cert), errors.Is(err, errPlaintext):
		e.Kind = ErrRefused
		return pipeline.Fatal(e)
	case refusesCertificate(err):
		e.Kind = ErrUnauthorized
		return pipeline.Fatal(e)
	}
	return pipeline.Retriable(e)
}

// refusesCertificate tells of a TLS alert that it is about this side's certificate. Go's type
// of alerts is its own: the texts are those of crypto/tls.
func refusesCertificate(err error) bool {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" {
		return false
	}
	switch strings.TrimPrefix(op.Err.Error(), "tls: ") {
	case "certificate required", "bad certificate", "unsupported certificate", "revoked certificate", "expired certificate",
		"unknown certificate", "unknown certificate authority", "access denied", "handshake failure":
		return true
	}
	return false
}

// transport strips what the layers put around a connection's error: they repeat
// the URL.
func transport(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	var n net.Error
	if errors.As(err, &n) && n.Timeout() && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer in time: %w", err)
	}
	return err
}
