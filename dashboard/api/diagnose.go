package api

import (
	"context"
	"net/http"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/netcheck"
)

// Doctor finds out why nothing arrives. Its functions tell the lines of the answer
// and return an error of [NotFound] and its like when there is nothing to tell of.
type Doctor interface {
	// DiagnoseLink tries the way from the buffer to an acknowledgement.
	DiagnoseLink(ctx context.Context, name string, d Diagnosis, tell func(netcheck.Line)) error
	// DiagnoseDoor tries whether anything can come in, and what became of what did.
	DiagnoseDoor(ctx context.Context, name string, tell func(netcheck.Line)) error
	// TestLink sends a marked reading through the gateway and waits until the link has
	// delivered it.
	TestLink(ctx context.Context, name string, tell func(netcheck.Line)) error
}

// Diagnosis says how far a diagnosis goes.
type Diagnosis struct {
	// Anyway tries the network, too, while schedule or budget hold readings back.
	Anyway bool `json:"anyway"`
	// Send sends a marked reading when nothing waits that could be acknowledged.
	Send bool `json:"send"`
}

// Diagnose answers why nothing arrives, step by step.
func Diagnose(d Doctor) []dashboard.Route {
	return []dashboard.Route{
		operate("POST /api/v1/links/{name}/diagnose", func(w http.ResponseWriter, r *http.Request) {
			var how Diagnosis
			if err := readSome(w, r, &how); err != nil {
				Answer(w, nil, err)
				return
			}
			stream(w, func(tell func(netcheck.Line)) error {
				return d.DiagnoseLink(r.Context(), r.PathValue("name"), how, tell)
			})
		}),
		operate("POST /api/v1/links/{name}/test", func(w http.ResponseWriter, r *http.Request) {
			if err := readSome(w, r, &struct{}{}); err != nil {
				Answer(w, nil, err)
				return
			}
			stream(w, func(tell func(netcheck.Line)) error { return d.TestLink(r.Context(), r.PathValue("name"), tell) })
		}),
		operate("POST /api/v1/doors/{name}/diagnose", func(w http.ResponseWriter, r *http.Request) {
			if err := readSome(w, r, &struct{}{}); err != nil {
				Answer(w, nil, err)
				return
			}
			stream(w, func(tell func(netcheck.Line)) error { return d.DiagnoseDoor(r.Context(), r.PathValue("name"), tell) })
		}),
	}
}

// readSome is Read of a small body that may be missing.
func readSome(w http.ResponseWriter, r *http.Request, into any) error {
	if r.ContentLength == 0 {
		return nil
	}
	return Read(w, r, 4<<10, into)
}

// stream is [Stream] for work that ends with the request's context: that ends when
// nobody reads any more.
func stream[T any](w http.ResponseWriter, work func(tell func(T)) error) {
	late := lateLines{w: w}
	late.end(work(func(line T) { _ = late.write(line) }))
}
