package httpin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
)

// outcome is the body of an answer to a request whose readings are on flash.
type outcome struct {
	// Readings are on flash, Opaque payloads among them, as one each.
	Readings int `json:"readings"`
	// Opaque payloads could not be decoded and were kept whole; Dropped ones
	// were not kept. Error says what was wrong with the first of them.
	Opaque  int    `json:"opaque,omitempty"`
	Dropped int    `json:"dropped,omitempty"`
	Error   string `json:"error,omitempty"`
}

// refusal is why a request was not taken. As an error it is for the client.
type refusal struct {
	status     int
	retryAfter int // seconds; 0 for no such header
	what, hint string
}

func (r *refusal) Error() string { return r.what + " — hint: " + r.hint }

func refuse(status int, hint, what string, args ...any) *refusal {
	return &refusal{status: status, what: fmt.Sprintf(what, args...), hint: hint}
}

// later is a refusal that time may cure.
func later(status, seconds int, what, hint string) *refusal {
	return &refusal{status: status, retryAfter: seconds, what: what, hint: hint}
}

func (r *refusal) write(w http.ResponseWriter) {
	if r.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(r.retryAfter))
	}
	if r.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="tidegate", charset="UTF-8"`)
	}
	writeJSON(w, r.status, struct {
		Error string `json:"error"`
		Hint  string `json:"hint"`
	}{r.what, r.hint})
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil {
		text = []byte(`{"error":"the answer could not be written"}`) // of structs of texts and numbers: it cannot happen
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(append(text, '\n')) // a client that has gone does not want it
}
