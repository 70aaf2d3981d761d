package cloud

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxWait is how long a gateway's question for commands is held at the most.
const maxWait = time.Minute

// handedOut is a command on its way to its gateway.
type handedOut struct {
	Queued   time.Time       `json:"queued"`
	Document json.RawMessage `json:"document"`
}

func handing(all []Order) []handedOut {
	var out []handedOut
	for _, o := range all {
		out = append(out, handedOut{o.Queued, o.Document})
	}
	return out
}

// routeOrders adds what is about commands: giving them and looking what has become
// of them is for who asks from this machine, or shows the operator's token; asking
// for them, and answering, is for gateways, with their own.
func (r *Receiver) routeOrders(mux *http.ServeMux) {
	mux.HandleFunc("POST /v1/commands", r.operated(r.giveOrder))
	mux.HandleFunc("GET /v1/commands/log", r.operated(r.listOrders))
	mux.HandleFunc("GET /v1/commands", r.askOrders)
	mux.HandleFunc("POST /v1/commands/answers", r.answerOrders)
}

// operated lets the operator through.
func (r *Receiver) operated(next http.HandlerFunc) http.HandlerFunc {
	inside := local(next)
	return func(w http.ResponseWriter, req *http.Request) {
		token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
		hash := sha256.Sum256([]byte(token))
		if ok && r.operator != nil && subtle.ConstantTimeCompare(hash[:], r.operator[:]) == 1 {
			next(w, req)
			return
		}
		inside.ServeHTTP(w, req)
	}
}

// besideHeader is the header of a delivery whose gateway takes commands with the
// acknowledgement.
const besideHeader = "Tidegate-Commands"

// beside returns the commands that go out with an acknowledgement. The readings are
// stored whatever is wrong with those.
func (r *Receiver) beside(req *http.Request, gateway string) []handedOut {
	if req.Header.Get(besideHeader) == "" {
		return nil
	}
	all, err := r.orders.handOut(gateway, maxBeside, time.Now())
	if err != nil {
		r.log.Error("commands are not handed out", "err", err)
	}
	return handing(all)
}

// giveOrder puts a command into the queue of a gateway.
func (r *Receiver) giveOrder(w http.ResponseWriter, req *http.Request) {
	gateway := req.URL.Query().Get("gateway")
	if !validGateway(gateway) {
		refuse(http.StatusBadRequest, "ask for /v1/commands?gateway=NAME", "no gateway is named").write(w)
		return
	}
	if _, known := r.tokens[gateway]; len(r.tokens) > 0 && !known {
		refuse(http.StatusNotFound, "the tokens file names those that there are", "there is no gateway %.300q", gateway).write(w)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, req.Body, MaxOrder+1))
	if err != nil {
		refuse(http.StatusRequestEntityTooLarge, "send less", "more than %d bytes", MaxOrder).write(w)
		return
	}
	id, again, err := r.orders.enqueue(gateway, body, time.Now())
	switch {
	case errors.Is(err, ErrOrder):
		refuse(http.StatusBadRequest, `for example {"id":"7","topic":"dev/pump/set","payload":"on","ttl":"1m"}`, "%v", err).write(w)
	case errors.Is(err, errTaken):
		refuse(http.StatusConflict, "give each command an id of its own", "%v", err).write(w)
	case errors.Is(err, errBacklog):
		refuse(http.StatusTooManyRequests, "is the gateway there? see /v1/commands/log", "%v", err).write(w)
	case err != nil:
		r.refusalOf(err).write(w)
	default:
		writeJSON(w, http.StatusAccepted, map[string]any{"queued": id, "again": again})
	}
}

func (r *Receiver) listOrders(w http.ResponseWriter, req *http.Request) {
	all, err := r.orders.list(req.URL.Query().Get("gateway"))
	if err != nil {
		r.refusalOf(err).write(w)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"commands": all})
}

// isGateway reports whether the request comes from the gateway. If not, it is
// answered.
func (r *Receiver) isGateway(w http.ResponseWriter, req *http.Request, gateway string) bool {
	token, err := r.admit(req)
	want, known := r.tokens[gateway]
	if err == nil && len(r.tokens) > 0 && (!known || subtle.ConstantTimeCompare(want[:], token[:]) != 1) {
		err = refuse(http.StatusUnauthorized, "give the gateway its own token", "the token is not that of gateway %.300q", gateway)
	}
	if err == nil && !validGateway(gateway) {
		err = refuse(http.StatusBadRequest, "ask for /v1/commands?gateway=NAME", "no gateway is named")
	}
	if err != nil {
		r.refusalOf(err).write(w)
	}
	return err == nil
}

// askOrders hands out commands, as soon as there are some, or says 204 when the time
// is over that the gateway wants to wait.
func (r *Receiver) askOrders(w http.ResponseWriter, req *http.Request) {
	gateway := req.URL.Query().Get("gateway")
	if !r.isGateway(w, req, gateway) {
		return
	}
	if !r.streams.join() { // it is held as a WebSocket is
		r.refusalOf(r.busy()).write(w)
		return
	}
	defer r.streams.leave()
	wait, err := time.ParseDuration(req.URL.Query().Get("wait"))
	if err != nil {
		wait = 0
	}
	if req.URL.Query().Get("again") != "" {
		r.orders.giveBack(gateway)
	}
	over := time.NewTimer(min(wait, maxWait))
	defer over.Stop()
	again := time.NewTicker(lease) // what was handed out and never answered is due again
	defer again.Stop()
	for {
		news := r.orders.arrival(gateway)
		all, err := r.orders.handOut(gateway, maxHandedBytes, time.Now())
		switch {
		case err != nil:
			r.refusalOf(err).write(w)
			return
		case len(all) > 0:
			writeJSON(w, http.StatusOK, map[string]any{"commands": handing(all)})
			return
		}
		select {
		case <-news:
		case <-again.C:
		case <-over.C:
			w.WriteHeader(http.StatusNoContent)
			return
		case <-r.streams.stop:
			w.WriteHeader(http.StatusNoContent)
			return
		case <-req.Context().Done():
			return
		}
	}
}

// answerOrders takes what a gateway says about commands.
func (r *Receiver) answerOrders(w http.ResponseWriter, req *http.Request) {
	var said struct {
		Gateway string            `json:"gateway"`
		Answers []json.RawMessage `json:"answers"`
	}
	if _, err := r.admit(req); err != nil {
		r.refusalOf(err).write(w)
		return
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 1<<20)).Decode(&said); err != nil {
		refuse(http.StatusBadRequest, `send {"gateway":"…","answers":[…]}`, "%v", err).write(w)
		return
	}
	if !r.isGateway(w, req, said.Gateway) {
		return
	}
	switch err := r.orders.take(said.Gateway, said.Answers); {
	case errors.Is(err, ErrOrder):
		refuse(http.StatusBadRequest, `send {"gateway":"…","answers":[{"id":"…"}]}`, "%v", err).write(w)
	case err != nil:
		r.refusalOf(err).write(w)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}
