package dashboard

import (
	"encoding/json"
	"net/http"
)

// Access says who may use a route.
type Access uint8

const (
	// Open is for everybody who reaches the listener: the files of the page,
	// whether the gateway is well.
	Open Access = iota
	// Look is for whoever may see readings.
	Look
	// Operate is for whoever may change something, or read what is nobody
	// else's business.
	Operate
)

// Route is one request that the gateway answers, on its page and on its admin
// socket.
type Route struct {
	// Pattern is one of http.ServeMux: "GET /api/v1/status".
	Pattern string
	Access  Access
	Handler http.Handler
}

// StatusRoute answers with the state of the whole gateway.
func StatusRoute(status func() Status) Route {
	return Route{"GET /api/v1/status", Look, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_ = json.NewEncoder(w).Encode(status()) // a caller that went away needs no answer
	})}
}
