package cloud

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"github.com/tidegate/tidegate/reading"
)

// Routes returns everything that the package serves. Deliveries may come from
// anywhere and show a token. The ledger and the export have no token of their
// own, so they answer only who asks from this machine and by a name of this
// machine; a page in a browser that was lured here asks by another name. Tunnel
// to them (ssh -L), or put your own authentication in front of [Store].
func Routes(r *Receiver, s *Store) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/ingest", r)
	r.routeOrders(mux)
	mux.Handle("GET /v1/ledger", local(ledgerRoute(s)))
	mux.Handle("GET /v1/export", local(exportRoute(s, r.log)))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if err := s.Err(); err != nil {
			refuse(http.StatusServiceUnavailable, "see the log of tidegate-cloud", "the store takes nothing any more").write(w)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	return mux
}

// local lets only requests through that come from this machine to this machine.
func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if !loopback(req.RemoteAddr) || !loopback(req.Host) {
			refuse(http.StatusForbidden, "ask on the machine itself, by 127.0.0.1 or localhost", "not for remote eyes").write(w)
			return
		}
		next.ServeHTTP(w, req)
	})
}

// loopback reports whether host, with or without a port, is this machine.
func loopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func ledgerRoute(s *Store) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		lanes, err := s.Ledger()
		if err != nil {
			refuse(http.StatusServiceUnavailable, "check the disk", "%v", err).write(w)
			return
		}
		writeJSON(w, http.StatusOK, map[string]any{"lanes": lanes})
	}
}

func exportRoute(s *Store, log *slog.Logger) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		f, err := ParseFilter(req.URL.Query())
		if err != nil {
			refuse(http.StatusBadRequest, "for example ?gateway=g1&lane=normal&from=1000&since=2026-01-31T00:00:00Z", "%v", err).write(w)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		err = s.Export(req.Context(), newPatient(w), f)
		if err != nil {
			if req.Context().Err() == nil {
				log.Error("export is not complete", "err", err)
			}
			// The status has been sent: a body that breaks off is the only way
			// left to say so.
			panic(http.ErrAbortHandler)
		}
	}
}

// patient gives each piece of an answer its own time, where one deadline for
// all of it would end every long export.
type patient struct {
	http.ResponseWriter
	control *http.ResponseController
}

// newPatient also lifts the deadline for reading the request: when that passes,
// the server takes the client for gone, in the middle of the answer.
func newPatient(w http.ResponseWriter) patient {
	p := patient{w, http.NewResponseController(w)}
	_ = p.control.SetReadDeadline(time.Time{}) // an error means that there is none
	return p
}

// pieceTimeout is how long a client may take for one piece of an export.
const pieceTimeout = 30 * time.Second

func (p patient) Write(b []byte) (int, error) {
	err := p.control.SetWriteDeadline(time.Now().Add(pieceTimeout))
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.ResponseWriter.Write(b)
}

// ParseFilter reads a filter from gateway, lane, device, from (a sequence
// number), since and until (RFC 3339, or nanoseconds since the Unix epoch).
func ParseFilter(q url.Values) (Filter, error) {
	f := Filter{Gateway: q.Get("gateway"), Lane: q.Get("lane"), Device: q.Get("device")}
	for name := range q {
		switch name {
		case "gateway", "lane", "device", "from", "since", "until":
		default:
			return f, fmt.Errorf("unknown filter %.40q", name)
		}
	}
	if _, ok := reading.ParseLane(f.Lane); f.Lane != "" && !ok {
		return f, fmt.Errorf("lane %.40q is not alarm, normal or bulk", f.Lane)
	}
	var err error
	if from := q.Get("from"); from != "" {
		if f.FromSeq, err = strconv.ParseUint(from, 10, 64); err != nil {
			return f, fmt.Errorf("from %.40q is not a sequence number", from)
		}
	}
	if f.Since, err = parseTime(q.Get("since")); err != nil {
		return f, fmt.Errorf("since: %w", err)
	}
	if f.Until, err = parseTime(q.Get("until")); err != nil {
		return f, fmt.Errorf("until: %w", err)
	}
	return f, nil
}

func parseTime(s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n, nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return 0, fmt.Errorf("%.40q is neither RFC 3339 nor nanoseconds", s)
	}
	return t.UnixNano(), nil
}
