package redisout

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gomodule/redigo/redis"

	"github.com/tidegate/tidegate/internal/netfault"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// maxWait bounds how long a server is asked to wait for its replicas and disk.
const maxWait = 10 * time.Second

// link is a connection that is logged in. Senders write in turns; a goroutine of
// its own, listen, reads the replies, which come in the order of the commands.
type link struct {
	cfg  Config
	wire *onelink.Conn
	conn redis.Conn
	// turn has one place: whoever holds it writes.
	turn  chan struct{}
	gone  chan struct{} // closed when the link is; err is set before
	err   error
	once  sync.Once
	tasks sync.WaitGroup
	// clocks are for trimming by age, nil without.
	clocks *clocks

	mu      sync.Mutex
	waiting []*departure // in the order of their commands
}

// departure is a group of commands whose replies are awaited.
type departure struct {
	left  int // replies to come
	take  func(reply any, err error) error
	worst error
	done  chan struct{} // closed when none is left
}

// newLink makes a link of a connection that is logged in.
func newLink(cfg Config, wire *onelink.Conn, conn redis.Conn) *link {
	l := &link{cfg: cfg, wire: wire, conn: conn, turn: make(chan struct{}, 1), gone: make(chan struct{})}
	if cfg.MaxAge > 0 {
		l.clocks = &clocks{known: make(map[string]int64)}
	}
	l.tasks.Go(l.listen)
	return l
}

// Alive reports whether the connection can be used, as far as is known.
func (l *link) Alive() bool {
	select {
	case <-l.gone:
		return false
	default:
		return l.wire.Fault() == nil
	}
}

// Close ends the connection, and returns when everything of the link has ended.
func (l *link) Close() error {
	l.end(onelink.ErrClosed)
	l.tasks.Wait()
	return nil
}

// end closes the connection. Only the first reason counts.
func (l *link) end(reason error) {
	l.once.Do(func() {
		l.err = reason
		close(l.gone)
		l.wire.Close()
	})
}

// listen reads replies until the connection breaks, and gives each to whoever
// waits for it.
func (l *link) listen() {
	for {
		reply, err := l.conn.Receive()
		var refused redis.Error
		if err != nil && !errors.As(err, &refused) {
			l.end(l.broken(err))
			return
		}
		if l.deliver(reply, err) {
			continue
		}
		if err == nil {
			err = fmt.Errorf("an answer to no question: %w", errReply)
		}
		judged, _ := judge(err) // "max number of clients reached", before any word of ours
		l.end(judged)
		return
	}
}

// broken explains an error of the network, or of what came over it. The first
// that happened is the cause.
func (l *link) broken(err error) error {
	if errors.Is(err, errReply) || strings.HasPrefix(err.Error(), "redigo: ") {
		return fmt.Errorf("connection lost: %w", errReply)
	}
	if first := l.wire.Fault(); first != nil {
		err = first
	}
	return fmt.Errorf("connection lost: %w", netfault.Explain(err))
}

// deliver gives a reply to the first in the queue, if there is one.
func (l *link) deliver(reply any, err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return false
	}
	d := l.waiting[0]
	d.worst = uplink.Worse(d.worst, d.take(reply, err))
	if d.left--; d.left == 0 {
		l.waiting[0] = nil
		l.waiting = l.waiting[1:]
		close(d.done)
	}
	return true
}

// command is one command with its arguments.
type command struct {
	name string
	args []any
}

// ask writes the commands in one go and waits for all of their replies, which
// take is given. It is called by another goroutine, but not after ask has
// returned nil. A server that is not heard of until ctx ends is given up.
func (l *link) ask(ctx context.Context, commands []command, take func(reply any, err error) error) error {
	d := &departure{left: len(commands), take: take, done: make(chan struct{})}
	heard := l.wire.Heard()
	if err := l.write(ctx, d, commands); err != nil {
		return err
	}
	select {
	case <-d.done:
		return d.worst
	case <-l.gone:
		return l.reason(d)
	case <-ctx.Done():
		silence := fmt.Errorf("no reply: %w — hint: the link is slow or dead, or the server hangs", ctx.Err())
		if l.wire.Heard() == heard {
			l.end(silence) // half-open: nobody is there
		}
		return silence
	}
}

// reason is why the link broke, unless the server had said something about these
// commands before.
func (l *link) reason(d *departure) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.left == 0 || d.worst != nil {
		return d.worst
	}
	return l.err
}

// write writes the commands while no other does. A network that does not take
// them until ctx ends is cut off: half a command makes it useless.
func (l *link) write(ctx context.Context, d *departure, commands []command) error {
	select {
	case l.turn <- struct{}{}:
	case <-l.gone:
		return l.err
	case <-ctx.Done():
		return unwritten(ctx)
	}
	defer func() { <-l.turn }()
	select {
	case <-l.gone:
		return l.err
	default:
	}
	if ctx.Err() != nil { // before a byte is written: the connection is as good as before
		return unwritten(ctx)
	}
	if fault := l.wire.Fault(); fault != nil {
		return fmt.Errorf("connection lost: %w", fault)
	}
	l.mu.Lock()
	l.waiting = append(l.waiting, d)
	l.mu.Unlock()
	cut := func() { l.end(unwritten(ctx)) }
	release := context.AfterFunc(ctx, cut)
	err := l.writeAll(commands)
	if !release() {
		cut() // now, or the next Send would find it alive
		return l.reason(d)
	}
	if err == nil {
		return nil
	}
	// What the server said before it hung up tells more than that it did.
	select {
	case <-l.gone:
		return l.reason(d)
	case <-ctx.Done():
		return unwritten(ctx)
	}
}

func (l *link) writeAll(commands []command) error {
	l.wire.Cork()
	var err error
	for _, c := range commands {
		if err = l.conn.Send(c.name, c.args...); err != nil {
			break
		}
	}
	return errors.Join(err, l.conn.Flush(), l.wire.Uncork())
}

func unwritten(ctx context.Context) error {
	return fmt.Errorf("not written in time: %w — hint: the link is slow or dead, or the server hangs", ctx.Err())
}

// send adds the message's pieces.
func (l *link) send(ctx context.Context, m uplink.Message) error {
	pieces := m.Pieces()
	commands := make([]command, 0, len(pieces)+1)
	var streams []string // of the entries, if their clocks matter
	for _, p := range pieces {
		stream := l.cfg.Stream.Expand(m, p, nil)
		if l.clocks != nil {
			streams = append(streams, stream)
		}
		commands = append(commands, l.entry(stream, m, p))
	}
	adds := len(commands)
	if confirm, ok := l.confirmation(ctx); ok {
		commands = append(commands, confirm)
	}
	return l.ask(ctx, commands, func(reply any, err error) error {
		adds--
		if err == nil && adds >= 0 {
			var at int64
			if at, err = added(reply); err == nil && streams != nil {
				l.clocks.note(streams[len(streams)-1-adds], at)
			}
		} else if err == nil {
			err = l.confirmed(reply)
		}
		return l.judged(err)
	})
}

// judged judges what the server said, and ends a link that will never do.
func (l *link) judged(err error) error {
	judged, keep := judge(err)
	switch {
	case keep:
	case uplink.IsPermanent(judged): // which is not held against the others
		l.end(fmt.Errorf("the connection has ended because of another message: %v", judged))
	default:
		l.end(judged)
	}
	return judged
}

// entry is the command that adds a piece.
func (l *link) entry(stream string, m uplink.Message, p uplink.Part) command {
	args := make([]any, 0, 22)
	args = append(args, stream)
	if l.cfg.MaxLen > 0 {
		args = append(args, "MAXLEN", "~", l.cfg.MaxLen)
	}
	if l.clocks != nil {
		if oldest := l.clocks.of(stream) - l.cfg.MaxAge.Milliseconds(); oldest > 0 {
			args = append(args, "MINID", "~", oldest)
		}
	}
	return command{"XADD", append(args, "*",
		"key", m.PartKey(p), "gateway", m.Gateway, "lane", m.Lane.String(),
		"first", strconv.FormatUint(p.First, 10), "last", strconv.FormatUint(p.Last, 10), "count", p.Count,
		"type", m.ContentType, "body", p.Body)}
}

// added checks the reply to XADD, an id as 1526919030474-55, and returns its time
// in ms.
func added(reply any) (int64, error) {
	id, ok := reply.([]byte)
	ms, sequence, found := strings.Cut(string(id), "-")
	at, err := strconv.ParseInt(ms, 10, 64)
	_, err2 := strconv.ParseUint(sequence, 10, 64)
	if !ok || !found || err != nil || err2 != nil {
		return 0, fmt.Errorf("no id: %w", errReply)
	}
	return at, nil
}

// confirmation is the command that waits for replicas and disk, if that is
// wanted.
func (l *link) confirmation(ctx context.Context) (command, bool) {
	if l.cfg.Replicas == 0 && !l.cfg.Disk {
		return command{}, false
	}
	wait := maxWait
	if end, ok := ctx.Deadline(); ok {
		wait = min(wait, time.Until(end)*3/4) // the rest is for the way
	}
	ms := max(wait.Milliseconds(), 1)
	if l.cfg.Disk {
		return command{"WAITAOF", []any{1, l.cfg.Replicas, ms}}, true
	}
	return command{"WAIT", []any{l.cfg.Replicas, ms}}, true
}

// errNotConfirmed says that the server has the entries, and that this is not
// enough.
var errNotConfirmed = errors.New("not enough copies in time — hint: look after the server's replicas and its disk, or lower wait_replicas")

// confirmed checks the reply to WAIT, a number of replicas, or to WAITAOF, which
// has the number of disks of the server itself before it.
func (l *link) confirmed(reply any) error {
	replicas, ok := reply.(int64)
	if l.cfg.Disk {
		both, list := reply.([]any)
		if !list || len(both) != 2 {
			return fmt.Errorf("no counts: %w", errReply)
		}
		local, isNumber := both[0].(int64)
		if !isNumber {
			return fmt.Errorf("no count: %w", errReply)
		}
		if local < 1 {
			return errNotConfirmed
		}
		replicas, ok = both[1].(int64)
	}
	if !ok {
		return fmt.Errorf("no count: %w", errReply)
	}
	if replicas < int64(l.cfg.Replicas) {
		return errNotConfirmed
	}
	return nil
}
