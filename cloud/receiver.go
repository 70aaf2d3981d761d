package cloud

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"

	"github.com/tidegate/tidegate/wire"
)

// The media types that a Receiver takes.
const (
	// ChunkType is a chunk of package wire.
	ChunkType = "application/vnd.tidegate.chunk"
	// DocumentType is a JSON document; see Receiver.
	DocumentType = "application/json"
)

// ReceiverConfig bounds a Receiver. The zero value is usable.
type ReceiverConfig struct {
	// MaxBody is the largest body in bytes, before and after decompression.
	// Default 8 MiB.
	MaxBody int64
	// MaxInFlight bounds the bytes of all requests that are being served;
	// what exceeds it is asked to come again. Default 64 MiB.
	MaxInFlight int64
	// MaxStreams bounds the WebSockets and the questions for commands that are open, which cost some 12 KiB each
	// when nothing comes over them. Default 1024.
	MaxStreams int
	// Tokens are the gateways that may deliver, each with its own secret. An
	// empty map lets everybody in: for loopback only.
	Tokens map[string]string
	// Operator is a secret with which commands may be given from other machines;
	// empty lets only this one.
	Operator string
	// Received is called for each delivery as soon as it is durable, from the
	// goroutine of its request; the answer waits for it. It may be nil.
	Received func(Delivery)
}

// Delivery is what one request brought.
type Delivery struct {
	// Chunk is what was delivered. It is only valid during the call.
	Chunk wire.Chunk
	// Bytes is the size of the body as it travelled.
	Bytes int64
	Result
}

// Receiver takes deliveries and answers when they are durable. By POST:
//
//	200 {"acked":{"epoch":"00000000000000a1","lane":"normal","first":1,"last":99}}
//
// with "duplicate":true when all of it was here already. A body is a chunk
// (ChunkType), or a document (DocumentType):
//
//	{"gateway":"g","epoch":"00000000000000a1","lane":"normal","first":1,"last":2,"readings":[
//	  {"seq":1,"device":"d","metric":"temp","unit":"Cel","time":1700000000000000000,"value":21.37,"quality":"good"},
//	  {"seq":2,"device":"d","metric":"frame","time":1700000000000000000,"bytes":"AAE="}]}
//
// with ascending numbers from first to last, times in nanoseconds since the
// Unix epoch, and unit and quality where there is something to say. Either may
// be compressed (Content-Encoding: gzip). A header Tidegate-Key, where there is
// one, must name what the body holds; behind that, "/" and the device or series that
// alone is in it may follow.
//
// Anything else is answered {"error","hint"}, and nothing of it was stored: 400
// damaged, 401 and 403 not allowed, 405 not a POST, 408 cut off, 409 not what
// Tidegate-Key says, 413 too large, 415 of an unknown type, 429 and 503 not now,
// 501 of a newer version. 429, 501 and 503 have Retry-After.
//
// A GET that wants to become a WebSocket (StreamProtocol) delivers over that, one
// message after the other, with the same rules.
type Receiver struct {
	maxBody   int64
	tokens    map[string][32]byte // gateway → hash of its token
	allowed   map[[32]byte]bool   // the hashes: who may send a body at all
	received  func(Delivery)
	store     *Store
	log       *slog.Logger
	memory    budget
	documents chan *transcoder // as many as may be read at once
	streams   *streams
	orders    *orders
	operator  *[32]byte // hash of the operator's token; nil if there is none
}

// NewReceiver returns a Receiver that keeps what it takes in store.
func NewReceiver(c ReceiverConfig, store *Store, log *slog.Logger) *Receiver {
	r := &Receiver{
		maxBody:   c.MaxBody,
		tokens:    map[string][32]byte{},
		allowed:   map[[32]byte]bool{},
		received:  c.Received,
		store:     store,
		log:       log,
		memory:    budget{limit: c.MaxInFlight},
		documents: make(chan *transcoder, runtime.GOMAXPROCS(0)),
		streams:   newStreams(cmp.Or(max(c.MaxStreams, 0), 1024)),
		orders:    newOrders(store),
	}
	if c.Operator != "" {
		hash := sha256.Sum256([]byte(c.Operator))
		r.operator = &hash
	}
	if r.maxBody <= 0 {
		r.maxBody = 8 << 20
	}
	if r.memory.limit <= 0 {
		r.memory.limit = 64 << 20
	}
	for gateway, token := range c.Tokens {
		hash := sha256.Sum256([]byte(token))
		r.tokens[gateway], r.allowed[hash] = hash, true
	}
	for range cap(r.documents) {
		r.documents <- &transcoder{}
	}
	return r
}

// Close ends the WebSockets: what came over them gets its answer, what comes is
// refused. Requests are for the server to end.
func (r *Receiver) Close() { r.streams.end() }

// ServeHTTP implements http.Handler. It returns when the WebSocket has ended, if
// it is one.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	if isStream(req) {
		if err := r.serveStream(w, req); err != nil {
			r.refusalOf(err).write(w)
		}
		return
	}
	d, err := r.receive(w, req)
	if err != nil {
		r.refusalOf(err).write(w)
		return
	}
	if r.received != nil {
		r.received(d)
	}
	a := answerTo(d)
	a.Commands = r.beside(req, d.Chunk.Gateway)
	writeJSON(w, http.StatusOK, a)
}

// refusalOf returns the refusal that err is, or makes one of an error that only
// the log may tell.
func (r *Receiver) refusalOf(err error) *refusal {
	var no *refusal
	if errors.As(err, &no) {
		return no
	}
	r.log.Error("delivery not stored", "err", err)
	return refuse(http.StatusServiceUnavailable, "nothing is lost, the gateway will send it again; see the log of tidegate-cloud", "not stored")
}

func answerTo(d Delivery) answer {
	return answer{
		Acked: acked{
			Epoch: fmt.Sprintf("%016x", d.Chunk.Epoch()),
			Lane:  d.Chunk.Lane().String(),
			First: d.Chunk.First(),
			Last:  d.Chunk.Last(),
		},
		Duplicate: d.Fresh == 0,
	}
}

// answer is the receipt of a delivery.
type answer struct {
	Acked     acked `json:"acked"`
	Duplicate bool  `json:"duplicate,omitempty"`
	// Commands are for gateways that ask for them with a header.
	Commands []handedOut `json:"commands,omitempty"`
}

type acked struct {
	Epoch string `json:"epoch"`
	Lane  string `json:"lane"`
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// receive does everything that must be done before the answer.
func (r *Receiver) receive(w http.ResponseWriter, req *http.Request) (Delivery, error) {
	if req.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return Delivery{}, refuse(http.StatusMethodNotAllowed, "deliver with POST", "%s is not allowed here", req.Method)
	}
	token, err := r.admit(req)
	if err != nil {
		return Delivery{}, err
	}
	media, err := mediaOf(req.Header.Get("Content-Type"))
	if err != nil {
		return Delivery{}, err
	}
	need, err := r.need(req)
	if err != nil {
		return Delivery{}, err
	}
	if !r.memory.take(need) {
		return Delivery{}, r.busy()
	}
	defer r.memory.give(need)
	body, size, err := r.readBody(w, req)
	if err != nil {
		return Delivery{}, err
	}
	d, err := r.keep(req.Context(), media, body, token, req.Header.Get("Tidegate-Key"))
	d.Bytes = size
	return d, err
}

// mediaOf returns the media type of a body, without parameters.
func mediaOf(contentType string) (string, error) {
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media != ChunkType && media != DocumentType {
		return "", refuse(http.StatusUnsupportedMediaType, "send "+ChunkType+" or "+DocumentType, "Content-Type %.100q", contentType)
	}
	return media, nil
}

// keep stores what came as a body of the media type, if it is what key says, and
// of the gateway whose token it came with.
func (r *Receiver) keep(ctx context.Context, media string, body []byte, token [32]byte, key string) (Delivery, error) {
	chunk, err := r.parse(ctx, media, body)
	if err != nil {
		return Delivery{}, err
	}
	if err := r.check(chunk, token, key); err != nil {
		return Delivery{}, err
	}
	result, err := r.store.Receive(ctx, chunk)
	if err != nil {
		return Delivery{}, corrupt(err)
	}
	if result.Twin {
		r.log.Warn("two gateways deliver under one name", "gateway", chunk.Gateway, "epoch", fmt.Sprintf("%016x", chunk.Epoch()), "hint", TwinHint)
	}
	return Delivery{Chunk: chunk, Result: result}, nil
}

// admit returns the hash of the request's token. Who has none that is known
// does not get to send a body.
func (r *Receiver) admit(req *http.Request) ([32]byte, error) {
	if len(r.tokens) == 0 {
		return [32]byte{}, nil
	}
	token, ok := strings.CutPrefix(req.Header.Get("Authorization"), "Bearer ")
	hash := sha256.Sum256([]byte(token))
	// A look-up by hash tells an attacker nothing: he cannot choose the hash.
	if !ok || !r.allowed[hash] {
		return hash, refuse(http.StatusUnauthorized, "give the gateway the token that stands beside its name in the tokens file", "no valid token")
	}
	return hash, nil
}

// parse turns the body into a chunk, which refers to the body's memory.
func (r *Receiver) parse(ctx context.Context, media string, body []byte) (wire.Chunk, error) {
	if media == ChunkType {
		c, err := wire.ParseChunk(body)
		return c, corrupt(err)
	}
	select {
	case t := <-r.documents:
		defer func() { r.documents <- t }()
		c, err := t.chunk(body)
		return c, corrupt(err)
	case <-ctx.Done():
		return wire.Chunk{}, ctx.Err()
	}
}

// check compares what the body says of itself with what the request says.
func (r *Receiver) check(c wire.Chunk, token [32]byte, key string) error {
	want, known := r.tokens[c.Gateway]
	if len(r.tokens) > 0 && (!known || subtle.ConstantTimeCompare(want[:], token[:]) != 1) {
		return refuse(http.StatusUnauthorized, "give the gateway its own token", "the token is not that of gateway %.300q", c.Gateway)
	}
	if !validGateway(c.Gateway) {
		return refuse(http.StatusForbidden, "give the gateway a name of printable text", "gateway name %.300q", c.Gateway)
	}
	// The key of a part of a message goes on with what its readings have in common.
	if own := chunkKey(c); key != "" && key != own && !strings.HasPrefix(key, own+"/") {
		return refuse(http.StatusConflict, "something between gateway and cloud mixes up requests", "Tidegate-Key %.400q on a body of %q", key, own)
	}
	return nil
}

// chunkKey is the chunk's identity as it stands in the header Tidegate-Key.
func chunkKey(c wire.Chunk) string {
	return fmt.Sprintf("%s/%016x/%s/%d-%d", c.Gateway, c.Epoch(), c.Lane(), c.First(), c.Last())
}

// corrupt turns what is wrong with the bytes into a refusal, and leaves other
// errors as they are.
func corrupt(err error) error {
	switch {
	case errors.Is(err, errTooMany):
		return refuse(http.StatusRequestEntityTooLarge, "set the uplink's max_batch lower", "more than %d readings in a document", maxDocument)
	case errors.Is(err, wire.ErrVersion):
		return refuse(http.StatusNotImplemented, "update tidegate-cloud", "%v", err)
	case errors.Is(err, wire.ErrCorrupt):
		return refuse(http.StatusBadRequest, "the bytes are damaged or not what their Content-Type says", "%v", err)
	}
	return err
}

// budget is a number of bytes that requests share.
type budget struct {
	limit int64
	used  atomic.Int64
}

// take is false when there is no room. What does not fit is in nobody's way meanwhile.
func (b *budget) take(n int64) bool {
	for {
		used := b.used.Load()
		if used+n > b.limit {
			return false
		}
		if b.used.CompareAndSwap(used, used+n) {
			return true
		}
	}
}

func (b *budget) give(n int64) { b.used.Add(-n) }
