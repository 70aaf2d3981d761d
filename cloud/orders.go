package cloud

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.etcd.io/bbolt"
)

// commandsBucket holds gateway, zero byte, number → Order.
var commandsBucket = []byte("commands")

// The bounds of orders.
const (
	// MaxOrder is the largest command in bytes, and maxPending how many may wait for
	// one gateway; maxFinished is how many that are answered are kept for looking.
	MaxOrder    = 64 << 10
	maxPending  = 1000
	maxFinished = 1000
	// maxHanded and maxHandedBytes bound what is handed out at once, and maxBeside
	// what goes out with an acknowledgement.
	maxHanded      = 16
	maxHandedBytes = 256 << 10
	maxBeside      = 48 << 10
	// lease is for how long a command that was handed out is not handed out again:
	// the gateway may take that long for its answer.
	lease = 30 * time.Second
	// maxAnswers is how many answers are kept of one command.
	maxAnswers = 8
)

// Order is a command for a gateway, as docs/connect/commands.md describes it, and
// what the gateway has said about it.
type Order struct {
	ID string `json:"id"`
	// Queued is when it came in.
	Queued   time.Time       `json:"queued"`
	Document json.RawMessage `json:"document"`
	// Answers are what the gateway has said, the first first. One with any answer
	// is not handed out again.
	Answers []json.RawMessage `json:"answers,omitempty"`
}

// ErrOrder means that what came is no command.
var ErrOrder = errors.New("no command")

// errTaken and errBacklog refuse commands that the queue cannot take.
var (
	errTaken   = errors.New("another command has this id")
	errBacklog = errors.New("too many commands wait for this gateway")
)

// orders are the commands of all gateways that wait, on top of a Store. What was
// handed out is known in memory only: after a restart it is handed out again, and
// gateways know the ids of what they have done.
type orders struct {
	store *Store

	mu     sync.Mutex
	handed map[string]time.Time     // by key: until when it is not handed out again
	news   map[string]chan struct{} // by gateway: closed when a command comes
}

func newOrders(s *Store) *orders {
	return &orders{store: s, handed: map[string]time.Time{}, news: map[string]chan struct{}{}}
}

// orderID reads the id of a document, or of a signed one. Everything else is the
// gateway's business.
func orderID(document []byte) (string, error) {
	if len(document) > MaxOrder || !utf8.Valid(document) {
		return "", fmt.Errorf("%w: more than %d bytes, or no UTF-8", ErrOrder, MaxOrder)
	}
	var d struct{ ID, Command string }
	if err := json.Unmarshal(document, &d); err != nil {
		return "", fmt.Errorf("%w: no JSON object", ErrOrder)
	}
	if d.ID == "" && d.Command != "" { // it is signed
		if err := json.Unmarshal([]byte(d.Command), &d); err != nil {
			return "", fmt.Errorf("%w: what is signed is no JSON object", ErrOrder)
		}
	}
	if d.ID == "" || len(d.ID) > 64 {
		return "", fmt.Errorf("%w: \"id\" has 1 to 64 characters", ErrOrder)
	}
	return d.ID, nil
}

func orderPrefix(gateway string) []byte { return append([]byte(gateway), 0) }

// enqueue stores a command until the gateway has answered it. The same one again
// changes nothing.
func (o *orders) enqueue(gateway string, document []byte, now time.Time) (id string, again bool, err error) {
	if id, err = orderID(document); err != nil {
		return "", false, err
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, document); err != nil {
		return "", false, fmt.Errorf("%w: %w", ErrOrder, err)
	}
	var refused error // not the store's: an error of its own says that it is damaged
	err = o.store.update(func(tx *bbolt.Tx) error {
		prefix := orderPrefix(gateway)
		pending, finished, next := 0, [][]byte{}, uint64(1)
		err := eachOrder(tx, gateway, func(k []byte, have Order) error {
			if have.ID == id {
				if again = bytes.Equal(have.Document, compact.Bytes()); !again {
					refused = errTaken
				}
			}
			if len(have.Answers) == 0 {
				pending++
			} else {
				finished = append(finished, bytes.Clone(k))
			}
			next = binary.BigEndian.Uint64(k[len(prefix):]) + 1
			return nil
		})
		if pending >= maxPending && !again && refused == nil {
			refused = errBacklog
		}
		if err != nil || again || refused != nil {
			return err
		}
		b := tx.Bucket(commandsBucket)
		for len(finished) >= maxFinished {
			if err := b.Delete(finished[0]); err != nil {
				return err
			}
			finished = finished[1:]
		}
		return putOrder(b, seqKey(prefix, next), Order{ID: id, Queued: now.UTC(), Document: compact.Bytes()})
	})
	if err != nil || refused != nil {
		return "", false, cmp.Or(err, refused)
	}
	if !again {
		o.tell(gateway)
	}
	return id, again, nil
}

// eachOrder visits the commands of a gateway in their order.
func eachOrder(tx *bbolt.Tx, gateway string, visit func(k []byte, o Order) error) error {
	prefix := orderPrefix(gateway)
	b := tx.Bucket(commandsBucket)
	if b == nil {
		return nil // a store that was made before there were commands, and is only read
	}
	c := b.Cursor()
	for k, v := c.Seek(prefix); k != nil && bytes.HasPrefix(k, prefix); k, v = c.Next() {
		var o Order
		if err := json.Unmarshal(v, &o); err != nil || len(k) != len(prefix)+8 {
			return fmt.Errorf("%w: a command of %q", ErrDamaged, gateway)
		}
		if err := visit(k, o); err != nil {
			return err
		}
	}
	return nil
}

func putOrder(b *bbolt.Bucket, k []byte, o Order) error {
	v, err := json.Marshal(o)
	if err != nil {
		return err
	}
	return b.Put(k, v)
}

// handOut returns the commands that wait for the gateway and are not on their way to
// it already, up to so many bytes.
func (o *orders) handOut(gateway string, most int, now time.Time) (out []Order, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for key, until := range o.handed {
		if !until.After(now) {
			delete(o.handed, key)
		}
	}
	size := 0
	err = o.store.view(func(tx *bbolt.Tx) error {
		return eachOrder(tx, gateway, func(k []byte, have Order) error {
			_, away := o.handed[string(k)]
			if len(have.Answers) > 0 || away || len(out) >= maxHanded || size+len(have.Document) > most {
				return nil
			}
			size += len(have.Document)
			o.handed[string(k)] = now.Add(lease)
			out = append(out, have)
			return nil
		})
	})
	return out, err
}

// giveBack says that what was handed out to the gateway did not arrive.
func (o *orders) giveBack(gateway string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.handed, func(key string, _ time.Time) bool { return strings.HasPrefix(key, gateway+"\x00") })
}

// take stores what the gateway says about its commands. What it says about others,
// which came another way, is not kept.
func (o *orders) take(gateway string, answers []json.RawMessage) error {
	byID := map[string][]json.RawMessage{}
	for _, a := range answers {
		var said struct{ ID string }
		if err := json.Unmarshal(a, &said); err != nil {
			return fmt.Errorf("%w: an answer is no JSON object", ErrOrder)
		}
		byID[said.ID] = append(byID[said.ID], a)
	}
	return o.store.update(func(tx *bbolt.Tx) error {
		changed := map[string]Order{}
		err := eachOrder(tx, gateway, func(k []byte, have Order) error {
			if more := byID[have.ID]; len(more) > 0 {
				have.Answers = append(have.Answers, more...)
				have.Answers = have.Answers[:min(len(have.Answers), maxAnswers)]
				changed[string(k)] = have
			}
			return nil
		})
		for k, have := range changed {
			if err == nil {
				err = putOrder(tx.Bucket(commandsBucket), []byte(k), have)
			}
		}
		return err
	})
}

// list returns what is known of the gateway's commands.
func (o *orders) list(gateway string) ([]Order, error) {
	all := []Order{}
	err := o.store.view(func(tx *bbolt.Tx) error {
		return eachOrder(tx, gateway, func(_ []byte, have Order) error {
			all = append(all, have)
			return nil
		})
	})
	return all, err
}

// arrival returns what is closed when a command comes for the gateway.
func (o *orders) arrival(gateway string) <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.news[gateway] == nil {
		o.news[gateway] = make(chan struct{})
	}
	return o.news[gateway]
}

func (o *orders) tell(gateway string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.news[gateway]; c != nil {
		close(c)
		delete(o.news, gateway)
	}
}
