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
	"time"
	"unsafe"

	"github.com/klauspost/compress/zstd"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/seldom"
	"github.com/tidegate/tidegate/reading"
)

// door is a Source while it runs.
type door struct {
	*Source
	ctx    context.Context // of Run, which a request's own ends with
	intake *ingest.Intake
	room   *budget
	unzstd *zstd.Decoder
	turns  chan struct{} // of those who decode
	spare  sync.Pool     // of *[]reading.Reading
	busy   sync.WaitGroup
	said   seldom.Told
}

// readingsPath is where the topic of a request begins.
const readingsPath = "/v1/readings/"

// taker says what a request brings.
type taker func(*http.Request, *holder) (delivery, *refusal)

// ServeHTTP implements http.Handler. Paths are taken as they come: to tidy them up
// would change topics.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.busy.Add(1)
	defer d.busy.Done()
	switch path := r.URL.Path; {
	case strings.HasPrefix(path, readingsPath), path == strings.TrimSuffix(readingsPath, "/"):
		d.answer(w, r, http.StatusCreated, d.readings)
	case d.cfg.LineProtocol != nil && (path == "/write" || path == "/api/v2/write"):
		d.answer(w, r, http.StatusNoContent, d.lines)
	default:
		d.refuse(w, r, refuse(http.StatusNotFound, "POST to "+readingsPath+"your/topic", "nothing is here"))
	}
}

// delivery is what a request brings: payloads for one target.
type delivery struct {
	target   route.Target
	payloads func(body []byte) iter.Seq[[]byte]
}

// answer takes what a request brings, and answers it. status is for one whose
// readings are on flash.
func (d *door) answer(w http.ResponseWriter, r *http.Request, status int, take taker) {
	done, refused := d.receive(r, take)
	if refused != nil {
		d.refuse(w, r, refused)
		return
	}
	d.hurry(w)
	if status == http.StatusNoContent {
		w.WriteHeader(status)
		return
	}
	writeJSON(w, status, done)
}

// refuse answers a request that was not taken. What is left of the body is read,
// up to a bound, or the client may be cut off before it reads the answer; a client
// that asks whether to send it is answered instead.
func (d *door) refuse(w http.ResponseWriter, r *http.Request, why *refusal) {
	if r.Header.Get("Expect") == "" {
		io.CopyN(io.Discard, r.Body, int64(d.cfg.MaxBody))
	}
	d.hurry(w)
	why.write(w)
}

// hurry bounds the time that an answer takes to leave: it begins when there is
// one.
func (d *door) hurry(w http.ResponseWriter) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(d.cfg.Timeout)) // of a connection that is there
}

// receive takes a request into custody, and returns when it is on flash.
func (d *door) receive(r *http.Request, take taker) (outcome, *refusal) {
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
	if receipt != nil && d.await(r.Context(), receipt) != nil {
		d.stats.notStored.Add(1)
		return outcome{}, later(http.StatusServiceUnavailable, 1, "the readings could not be written", "send them again")
	}
	d.stats.requests.Add(1)
	return done, nil
}

// await waits until the receipt resolves. A stop ends that a little later than it ends
// the context: custody commits what it has, and a client that is told otherwise sends
// again what is stored.
func (d *door) await(ctx context.Context, receipt ingest.Receipt) error {
	err := receipt.Wait(ctx)
	if err == nil || d.ctx.Err() == nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settle)
	defer cancel()
	return receipt.Wait(ctx)
}

// accept decodes a request and hands its readings to custody.
func (d *door) accept(r *http.Request, what delivery) (outcome, ingest.Receipt, *refusal) {
	b := &bill{from: d.room}
	defer b.pay()
	body, refused := d.readBody(r, b)
	if refused != nil {
		return outcome{}, nil, refused
	}
	borrowed := d.borrow()
	defer d.giveBack(borrowed)
	intake := d.intake.Passage()
	defer intake.Leave()
	done, refused := d.decode(intake, borrowed, what, body, b)
	if refused != nil {
		return outcome{}, nil, refused
	}
	d.stats.opaque.Add(uint64(done.Opaque))
	d.stats.dropped.Add(uint64(done.Dropped))
	if done.Dropped > 0 && done.Readings == 0 {
		what, hint, _ := strings.Cut(done.Error, " — hint: ")
		return outcome{}, nil, refuse(http.StatusBadRequest, cmp.Or(hint, "correct the payload"), "%s", what)
	}
	if len(*borrowed) == 0 && !intake.Owes() {
		return done, nil, nil
	}
	receipt, refused := d.give(r.Context(), intake, *borrowed)
	return done, receipt, refused
}

// What one request may bring: its readings go to custody at once, which takes some
// more than this.
const (
	maxReadings = 16 << 10
	maxText     = 3 << 20 // bytes of names, units and texts
	readingSize = int(unsafe.Sizeof(reading.Reading{}))
)

// decode appends the readings of a body to dst, and what they take to the bill.
// As many requests decode at once as there are processors: what a payload takes
// before it is on the bill is bounded by that.
func (d *door) decode(intake *ingest.Intake, dst *[]reading.Reading, what delivery, body []byte, b *bill) (outcome, *refusal) {
	d.turns <- struct{}{}
	defer func() { <-d.turns }()
	var done outcome
	texts := 0
	arrival := route.Arrival{Intake: intake, Now: intake.Now()}
	for payload := range what.payloads(body) {
		first := len(*dst)
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
		added := (*dst)[min(first, len(*dst)):]
		text := textOf(added)
		texts += text
		if refused := d.tooMany(len(*dst), texts); refused != nil {
			return done, refused
		}
		if !b.take(len(added)*readingSize + text) {
			return done, d.overloaded()
		}
	}
	done.Readings = len(*dst)
	return done, nil
}

// textOf is how many bytes the texts of readings have.
func textOf(rs []reading.Reading) (n int) {
	for i := range rs {
		n += len(rs[i].Device) + len(rs[i].Metric) + len(rs[i].Unit) + len(rs[i].Value.Text())
	}
	return n
}

// tooMany refuses what custody would not take at once.
func (d *door) tooMany(readings, texts int) *refusal {
	const hint = "send less at once"
	switch {
	case readings > maxReadings:
		d.stats.tooLarge.Add(1)
		return refuse(http.StatusRequestEntityTooLarge, hint, "more than %d readings", maxReadings)
	case texts > maxText:
		d.stats.tooLarge.Add(1)
		return refuse(http.StatusRequestEntityTooLarge, hint, "readings of more than %d bytes, names included", maxText)
	}
	return nil
}

func (d *door) borrow() *[]reading.Reading {
	if rs, ok := d.spare.Get().(*[]reading.Reading); ok {
		return rs
	}
	return new([]reading.Reading)
}

// mostSpare is how many readings may be kept room for when there are none.
const mostSpare = 1 << 10

// giveBack lets go of what the readings hold.
func (d *door) giveBack(rs *[]reading.Reading) {
	if cap(*rs) > mostSpare {
		return
	}
	clear(*rs)
	*rs = (*rs)[:0]
	d.spare.Put(rs)
}

// give hands readings to custody and waits for room, but not for ever.
func (d *door) give(ctx context.Context, intake *ingest.Intake, rs []reading.Reading) (ingest.Receipt, *refusal) {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.Patience)
	defer cancel()
	receipt, err := intake.Accept(ctx, rs)
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
	topic, _ := strings.CutPrefix(r.URL.Path, readingsPath)
	if topic == "" || topic == r.URL.Path {
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
	if topic == "" {
		return route.Target{}, refuse(http.StatusNotFound, "write it behind "+readingsPath, "%q is no topic", topic)
	}
	if problem := route.CheckTopic(topic); problem != "" {
		return route.Target{}, refuse(http.StatusNotFound, problem, "%q is no topic", topic)
	}
	target, ok := d.cfg.Routes.Resolve(topic)
	if !ok {
		return route.Target{}, refuse(http.StatusNotFound, "topics that begin with $ are the broker's own", "%q takes no readings", topic)
	}
	if !who.mayPublish(topic) {
		d.stats.denied.Add(1)
		if d.said.First(who.name, "", time.Now()) {
			d.log.Warn("http client may not publish there", "event", "acl_denied", "user", who.name, "topic", topic)
		}
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
