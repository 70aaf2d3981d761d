package cloud

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// refusal is an answer other than an acknowledgement: nothing was stored.
type refusal struct {
	status     int
	retryAfter int // seconds; 0 means that the sender may decide
	reason     string
	hint       string
}

func (r *refusal) Error() string { return r.reason + " — hint: " + r.hint }

// refuse makes a refusal. Gateways set aside for good what is answered 400,
// 413, 415 or 422, so those are only for bytes that no later attempt can save.
func refuse(status int, hint, reason string, args ...any) *refusal {
	r := &refusal{status: status, hint: hint, reason: fmt.Sprintf(reason, args...)}
	switch status {
	case http.StatusTooManyRequests:
		r.retryAfter = 1
	case http.StatusServiceUnavailable:
		r.retryAfter = 10
	case http.StatusNotImplemented:
		r.retryAfter = 300 // until somebody has updated the program
	}
	return r
}

// write answers with {"error","hint"}.
func (r *refusal) write(w http.ResponseWriter) {
	if r.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(r.retryAfter))
	}
	if r.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	writeJSON(w, r.status, map[string]string{"error": r.reason, "hint": r.hint})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error means that nobody listens any more
}
