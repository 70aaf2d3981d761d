// Package api answers the requests of the page and of the program's other
// commands with JSON: what they may ask of a running gateway, and tell it.
//
// A function of this package returns the routes of one capability, and takes
// what it needs for it. An answer that is not 200 is {"error": "… — hint: …"}.
// What takes its time answers with lines of JSON (NDJSON), the last of which may
// be such an error. docs/reference/openapi.json describes all of it.
package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/tidegate/tidegate/dashboard"
)

// look is a route for whoever may see readings, operate one for whoever may change
// something.
func look(pattern string, handle http.HandlerFunc) dashboard.Route {
	return dashboard.Route{Pattern: pattern, Access: dashboard.Look, Handler: handle}
}

func operate(pattern string, handle http.HandlerFunc) dashboard.Route {
	return dashboard.Route{Pattern: pattern, Access: dashboard.Operate, Handler: handle}
}

// refusal is what is answered instead of a value.
type refusal struct {
	Error string `json:"error"`
}

// refused is an error and the status of HTTP that it is answered with.
type refused struct {
	error
	status int
}

func (r refused) Unwrap() error { return r.error }

// Invalid means that the request makes no sense as it is: 400.
func Invalid(err error) error { return refused{err, http.StatusBadRequest} }

// IsInvalid says whether an error is of [Invalid].
func IsInvalid(err error) bool {
	var r refused
	ok := errors.As(err, &r)
	return ok && r.status == http.StatusBadRequest
}

// NotFound means that there is nothing of that name: 404.
func NotFound(err error) error { return refused{err, http.StatusNotFound} }

// Unavailable means that the gateway has nothing of the kind now: 503.
func Unavailable(err error) error { return refused{err, http.StatusServiceUnavailable} }

// Answer writes the value, or why there is none: with the status that err has of
// [Invalid] and its like, else 409.
func Answer(w http.ResponseWriter, value any, err error) {
	header := w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	if err != nil {
		status := http.StatusConflict
		var r refused
		if errors.As(err, &r) {
			status = r.status
		}
		w.WriteHeader(status)
		value = refusal{err.Error()}
	}
	_ = json.NewEncoder(w).Encode(value) // a caller that went away needs no answer
}

// Read decodes the body, which has most bytes at the most. An error is of
// [Invalid].
func Read(w http.ResponseWriter, r *http.Request, most int64, into any) error {
	in := json.NewDecoder(http.MaxBytesReader(w, r.Body, most))
	in.DisallowUnknownFields()
	err := in.Decode(into)
	if err == nil {
		if _, err = in.Token(); err == io.EOF {
			return nil
		}
		err = errors.New("more than one value")
	}
	return Invalid(fmt.Errorf("the request's body: %w", err))
}

// Lines answers with lines of JSON for as long as there are some.
type Lines struct {
	out   *json.Encoder
	flush *http.ResponseController
}

// NewLines begins the answer. The request must have been read: what may take its
// time is not bound by the server's deadlines any more, which are for requests.
func NewLines(w http.ResponseWriter) *Lines {
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set("Cache-Control", "no-store")
	l := &Lines{json.NewEncoder(w), http.NewResponseController(w)}
	_ = l.flush.SetReadDeadline(time.Time{}) // where that cannot be set, none is
	return l
}

// Begin sends what goes before the first line, for a caller who waits to see that
// he was understood.
func (l *Lines) Begin() error {
	postpone(l.flush)
	return l.flush.Flush()
}

// writeTime is how long a reader may take for a piece of an answer.
const writeTime = 30 * time.Second

// postpone gives the next piece its time: what a server grants is meant for answers
// that are ready. Where deadlines are not known, there is none to postpone.
func postpone(w *http.ResponseController) { _ = w.SetWriteDeadline(time.Now().Add(writeTime)) }

// Write sends a line. An error means that nobody reads any more.
func (l *Lines) Write(value any) error {
	postpone(l.flush)
	return errors.Join(l.out.Encode(value), l.flush.Flush())
}

// Stream answers with the lines that run tells, or as [Answer] does when run fails
// before the first.
func Stream[T any](w http.ResponseWriter, run func(tell func(T) error) error) {
	late := lateLines{w: w}
	late.end(run(func(line T) error { return late.write(line) }))
}

// lateLines are [Lines] that begin with the first.
type lateLines struct {
	w     http.ResponseWriter
	lines *Lines
}

func (l *lateLines) write(line any) error {
	if l.lines == nil {
		l.lines = NewLines(l.w)
	}
	return l.lines.Write(line)
}

func (l *lateLines) end(err error) {
	if l.lines == nil {
		Answer(l.w, struct{}{}, err)
		return
	}
	l.lines.End(err)
}

// End sends why there are no more lines, if that is an error.
func (l *Lines) End(err error) {
	if err != nil {
		_ = l.Write(refusal{err.Error()}) // as in Answer
	}
}

// RefusalOf returns what an answer that is not 200 says; "" when it says nothing
// of the kind.
func RefusalOf(body io.Reader) string {
	var no refusal
	if json.NewDecoder(io.LimitReader(body, 64<<10)).Decode(&no) != nil {
		return ""
	}
	return no.Error
}
