package api

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
)

// Buffer tells what is on flash, and discards it.
func Buffer(b *buffer.Buffer) []dashboard.Route {
	return []dashboard.Route{
		operate("GET /api/v1/buffer", func(w http.ResponseWriter, _ *http.Request) {
			inv := b.Inventory()
			for i := range inv.Refused { // Quarantine has the bytes
				inv.Refused[i].Raw = nil
			}
			Answer(w, inv, nil)
		}),
		operate("GET /api/v1/buffer/state", func(w http.ResponseWriter, _ *http.Request) {
			Answer(w, struct{}{}, b.CheckState())
		}),
		operate("POST /api/v1/buffer/purge", func(w http.ResponseWriter, r *http.Request) {
			var p buffer.Purge
			if err := Read(w, r, 64<<10, &p); err != nil {
				Answer(w, nil, err)
				return
			}
			done, err := b.Purge(r.Context(), p)
			Answer(w, done, AdviseSink(err, p.Sink))
		}),
		operate("DELETE /api/v1/buffer/sinks/{sink}", func(w http.ResponseWriter, r *http.Request) {
			sink := r.PathValue("sink")
			Answer(w, struct{}{}, AdviseSink(b.Forget(sink), sink))
		}),
	}
}

// AdviseSink names the sink that the error is about, and says what to do.
func AdviseSink(err error, sink string) error {
	switch {
	case errors.Is(err, buffer.ErrNoSink):
		return NotFound(fmt.Errorf("%w: %q — hint: \"tidegate buffer ls\" lists them", err, sink))
	case errors.Is(err, buffer.ErrActive):
		return fmt.Errorf("%w: %q — hint: take it out of the configuration first, and let the gateway read that: \"tidegate reload\"", err, sink)
	}
	return err
}
