package api

import (
	"encoding/json"
	"net/http"

	"github.com/tidegate/tidegate/dashboard"
)

// Values tells the latest value of every series, once.
func Values(h *dashboard.Hub) []dashboard.Route {
	return []dashboard.Route{look("GET /api/v1/values", func(w http.ResponseWriter, r *http.Request) {
		frame, err := h.Values(r.Context())
		if err != nil {
			err = Unavailable(err)
		}
		Answer(w, json.RawMessage(frame), err)
	})}
}
