package httpin

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"iter"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/reading"
)

// door is a Source while it runs.
type door struct {
	*Source
	intake *ingest.Intake
	room   *budget
	unzstd *zstd.Decoder
	spare  sync.Pool // of *[]reading.Reading
}

// readingsPath is where the topic of a request begins.
const readingsPath = "/v1/readings/"

func (s *Source) routes(d *door) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(readingsPath, d.answering(http.StatusCreated, d.readings))
	if s.cfg.LineProtocol != nil {
		mux.HandleFunc("/write", d.answering(http.StatusNoContent, d.lines))
		mux.HandleFunc("/api/v2/write", d.answering(http.StatusNoContent, d.lines))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(http.StatusNotFound, "POST to "+readingsPath+"your/topic", "nothing is here").write(w)
	})
	return mux
}

// delivery is what a request brings: payloads for one target.
type delivery struct {
	target   route.Target
	payloads func(body []byte) iter.Seq[[]byte]
}

// answering makes a handler of take, which says what a request brings. status is
// for requests whose readings are on flash.
func (d *door) answering(status int, take func(*http.Request, *holder) (delivery, *refusal)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		done, refused := d.receive(r, take)
		switch {
		case refused != nil:
			// What is left of the body is read, up to a bound, or the client may
			// be cut off before it reads the answer.
			io.CopyN(io.Discard, r.Body, int64(d.cfg.MaxBody))
			refused.write(w)
		case status == http.StatusNoContent:
			w.WriteHeader(status)
		default:
			writeJSON(w, status, done)
		}
	}
}

// receive takes a request into custody, and returns when it is on flash.
func (d *door) receive(r *http.Request, take func(*http.Request, *holder) (delivery, *refusal)) (outcome, *refusal) {
	if r.Method != http.MethodPost && r.Method != http.MethodPut {
		return outcome{}, refuse(http.StatusMethodNotAllowed, "use POST", "%s does not bring readings", r.Method)
	}
	who, refused := d.admit(r)
	if refused != nil {
		return outcome{}, refused
	}
	what, refused := take(r, who)
	if refused != nil {
		return outcome{}, refused
	}
	done, receipt, refused := d.accept(r, what)
	if refused != nil {
		return outcome{}, refused
	}
	if receipt != nil && receipt.Wait(r.Context()) != nil {
		d.stats.notStored.Add(1)
		return outcome{}, later(http.StatusServiceUnavailable, 1, "the readings could not be written", "send them again")
	}
	d.stats.requests.Add(1)
	return done, nil
}

// accept decodes a request and hands its readings to custody.
func (d *door) accept(r *http.Request, what delivery) (outcome, ingest.Receipt, *refusal) {
	body, free, refused := d.readBody(r)
	if refused != nil {
		return outcome{}, nil, refused
	}
	defer free()
	borrowed := d.borrow()
	defer d.giveBack(borrowed)
	done, refused := d.decode(borrowed, what, body)
	if refused != nil {
		return outcome{}, nil, refused
	}
	d.stats.opaque.Add(uint64(done.Opaque))
	d.stats.dropped.Add(uint64(done.Dropped))
	if done.Dropped > 0 && done.Readings == 0 {
		what, hint, _ := strings.Cut(done.Error, " — hint: ")
		return outcome{}, nil, refuse(http.StatusBadRequest, cmp.Or(hint, "correct the payload"), "%s", what)
	}
	if len(*borrowed) == 0 && !d.intake.Owes() {
		return done, nil, nil
	}
	receipt, refused := d.give(r.Context(), *borrowed)
	return done, receipt, refused
}

// maxReadings bounds the readings of one request, which go to custody at once.
const maxReadings = 16 << 10

// decode appends the readings of a body to dst.
func (d *door) decode(dst *[]reading.Reading, what delivery, body []byte) (outcome, *refusal) {
	var done outcome
	arrival := route.Arrival{Intake: d.intake, Now: d.intake.Now()}
	for payload := range what.payloads(body) {
		var fate route.Fate
		var err error
		*dst, fate, err = what.target.Read(*dst, payload, arrival)
		switch fate {
		case route.Opaque:
			done.Opaque++
		case route.Dropped:
			done.Dropped++
		}
		if err != nil && done.Error == "" {
			done.Error = err.Error()
		}
		if len(*dst) > maxReadings {
			d.stats.tooLarge.Add(1)
			if what.target.Refine != nil { // they will not be kept, so none may be left out for them
				what.target.Refine.Forget()
			}
			return done, refuse(http.StatusRequestEntityTooLarge, "send less at once", "more than %d readings", maxReadings)
		}
	}
	done.Readings = len(*dst)
	return done, nil
}

func (d *door) borrow() *[]reading.Reading {
	if rs, ok := d.spare.Get().(*[]reading.Reading); ok {
		return rs
	}
	return new([]reading.Reading)
}

// giveBack lets go of what the readings hold.
func (d *door) giveBack(rs *[]reading.Reading) {
	clear(*rs)
	*rs = (*rs)[:0]
	d.spare.Put(rs)
}

// give hands readings to custody and waits for room, but not for ever.
func (d *door) give(ctx context.Context, rs []reading.Reading) (ingest.Receipt, *refusal) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Patience)
	defer cancel()
	receipt, err := d.intake.Accept(ctx, rs)
	if err == nil {
		return receipt, nil
	}
	d.stats.notStored.Add(1)
	if errors.Is(err, ingest.ErrFull) || errors.Is(err, context.DeadlineExceeded) {
		return nil, later(http.StatusTooManyRequests, 5, "there is no room for readings now", "keep them and wait as Retry-After says")
	}
	return nil, later(http.StatusServiceUnavailable, 1, "the readings could not be taken", "send them again")
}

// readings is what a request to a topic brings.
func (d *door) readings(r *http.Request, who *holder) (delivery, *refusal) {
	topic := strings.TrimPrefix(r.URL.Path, readingsPath)
	if topic == "" {
		topic = who.name
	}
	target, refused := d.resolve(topic, who)
	if refused != nil {
		return delivery{}, refused
	}
	what := delivery{target: target, payloads: whole}
	switch media := mediaType(r); media {
	case "application/x-ndjson", "application/ndjson", "application/jsonl":
		what.payloads = eachLine
	default:
		if decoder, named := d.cfg.Types[media]; named {
			what.target.Decoder = decoder
		}
	}
	return what, nil
}

// lines is what a request of an InfluxDB client brings. The measurement, or a
// tag, says who measured; the topic only chooses the route.
func (d *door) lines(r *http.Request, who *holder) (delivery, *refusal) {
	query := r.URL.Query()
	precision := query.Get("precision")
	decoder, known := d.cfg.LineProtocol[precision]
	if !known {
		return delivery{}, refuse(http.StatusBadRequest, "write ns, us, ms or s", "precision %q is not known here", precision)
	}
	topic := query.Get("bucket")
	if topic == "" {
		topic = query.Get("db")
	}
	if topic == "" {
		topic = "influx"
	}
	target, refused := d.resolve(topic, who)
	target.Decoder = decoder
	return delivery{target: target, payloads: whole}, refused
}

func (d *door) resolve(topic string, who *holder) (route.Target, *refusal) {
	if hint := checkTopic(topic); hint != "" {
		return route.Target{}, refuse(http.StatusNotFound, hint, "%q is no topic", topic)
	}
	target, ok := d.cfg.Routes.Resolve(topic)
	if !ok {
		return route.Target{}, refuse(http.StatusNotFound, "topics that begin with $ are the broker's own", "%q takes no readings", topic)
	}
	if !who.mayPublish(topic) {
		d.stats.denied.Add(1)
		return route.Target{}, refuse(http.StatusForbidden, "the token's line says for which it is", "%s may not publish to %q", who.name, topic)
	}
	return target, nil
}

func mediaType(r *http.Request) string {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return "" // then the route says what it is, as without a type
	}
	return media
}

// whole is a body that is one payload.
func whole(body []byte) iter.Seq[[]byte] { return slices.Values([][]byte{body}) }

// eachLine is a body of a payload a line. Empty lines are none.
func eachLine(body []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for line := range bytes.Lines(body) {
			if line = bytes.TrimSpace(line); len(line) > 0 && !yield(line) {
				return
			}
		}
	}
}
