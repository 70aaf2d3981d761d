package firmwaresim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The parameters of RFC 7252, §4.8, but for ACK_TIMEOUT, which is configured.
const (
	coapRandomFactor  = 1.5
	coapMaxRetransmit = 4
	// maxSeparate is how long an answer may take that was promised by an empty
	// acknowledgement: EXCHANGE_LIFETIME.
	maxSeparate = 247 * time.Second
	// maxMessages is how many message IDs a socket uses. Within
	// EXCHANGE_LIFETIME none may be used again; another port is another endpoint.
	maxMessages = 60_000
)

// coapCourier sends each shipment in one confirmable request, or in blocks.
type coapCourier struct {
	device *sendingDevice
	host   string

	mu      sync.Mutex
	current *coapSocket
	tags    atomic.Uint32
}

func newCoAPCourier(d *sendingDevice) *coapCourier {
	u := d.urls[""]
	port := u.Port()
	if port == "" {
		port = "5683"
	}
	return &coapCourier{device: d, host: net.JoinHostPort(u.Hostname(), port)}
}

// acquire returns a socket that is not used up.
func (c *coapCourier) acquire(ctx context.Context) (*coapSocket, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil || c.current.usedUp() {
		fresh, err := openCoAPSocket(ctx, c.host, c.device)
		if err != nil {
			return nil, err
		}
		if old := c.current; old != nil && old.users == 0 {
			old.close()
		}
		c.current = fresh
	}
	c.current.users++
	return c.current, nil
}

func (c *coapCourier) release(s *coapSocket) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.users--; s.users == 0 && s != c.current {
		s.close()
	}
}

func (c *coapCourier) close() {
	if c.current != nil {
		c.current.close()
	}
}

func (c *coapCourier) bring(ctx context.Context, p *shipment) fate {
	s, err := c.acquire(ctx)
	if err != nil {
		return fate{kind: fateAgain, err: err}
	}
	defer c.release(s)
	t := coapTransfer{socket: s, shipment: p, cfg: &c.device.sender.cfg, tag: binary.BigEndian.AppendUint32(nil, c.tags.Add(1))}
	if c.device.sender.cfg.NonConfirmable {
		return t.throw(ctx)
	}
	return t.run(ctx)
}

// coapTransfer is one attempt to deliver a shipment.
type coapTransfer struct {
	socket *coapSocket
	*shipment
	cfg *SenderConfig
	tag []byte // Request-Tag of its blocks
}

func (t coapTransfer) message(kind coapKind) coapMessage {
	m := coapMessage{kind: kind, code: coapPOST, payload: t.payload}
	if t.cfg.Put {
		m.code = coapPUT
	}
	m.options = coapTarget(t.url)
	if t.cfg.Shape != Plain {
		m.options = withOption(m.options, coapNumber(coapContentFormat, coapFormatJSON))
	}
	return m
}

// coapTarget returns the options that stand for a URL, RFC 7252, §6.4.
func coapTarget(u *url.URL) (options []coapOption) {
	if net.ParseIP(u.Hostname()) == nil {
		options = append(options, coapOption{coapUriHost, []byte(strings.ToLower(u.Hostname()))})
	}
	for part := range strings.SplitSeq(strings.TrimPrefix(u.Path, "/"), "/") {
		options = append(options, coapOption{coapUriPath, []byte(part)})
	}
	if u.RawQuery != "" {
		for part := range strings.SplitSeq(u.RawQuery, "&") {
			if plain, err := url.PathUnescape(part); err == nil {
				part = plain
			}
			options = append(options, coapOption{coapUriQuery, []byte(part)})
		}
	}
	return options
}

// withOption inserts an option where its number belongs.
func withOption(options []coapOption, o coapOption) []coapOption {
	at := len(options)
	for at > 0 && options[at-1].number > o.number {
		at--
	}
	with := append([]coapOption(nil), options[:at]...)
	return append(append(with, o), options[at:]...)
}

// throw sends a message that nobody acknowledges.
func (t coapTransfer) throw(ctx context.Context) fate {
	if err := t.socket.transmit(ctx, t.socket.named(t.message(coapNON)), t.shipment); err != nil {
		return fate{kind: fateAgain, err: err}
	}
	return fate{kind: fateSent}
}

// maxRestarts is how often a transfer in blocks begins anew because the other
// side has lost its beginning.
const maxRestarts = 3

func (t coapTransfer) run(ctx context.Context) fate {
	power := uint(4)
	for 1<<power < t.cfg.BlockSize {
		power++
	}
	restarts := 0
	for offset := 0; ; {
		m, end := t.block(offset, power)
		answer, err := t.socket.exchange(ctx, m, t.shipment)
		if err != nil {
			return fate{kind: fateAgain, err: err}
		}
		if end && answer.code != coapContinue && answer.code != coapIncomplete {
			return judgeCoAP(answer)
		}
		echo, hasBlock := coapBlock{power: power}, false
		if o, ok := answer.option(coapBlock1); ok {
			echo, hasBlock = blockOf(o)
		}
		switch {
		case answer.code == coapContinue && !end && hasBlock && echo.number == uint32(offset>>power):
			offset += 1 << power
			power = min(power, echo.power)
		case answer.code == coapTooLarge && hasBlock && echo.power < power && offset == 0:
			power = echo.power
		case answer.code == coapIncomplete && restarts < maxRestarts:
			restarts++
			offset = 0
		case answer.code == coapContinue || answer.code == coapIncomplete:
			return fate{kind: fateAgain, err: fmt.Errorf("%w: %v to block %d", errOtherReply, answer.code, offset>>power)}
		default:
			return judgeCoAP(answer)
		}
	}
}

// block returns the request with the block that begins at the offset, and
// whether it is the last. What fits in one has no Block1.
func (t coapTransfer) block(offset int, power uint) (m coapMessage, end bool) {
	m = t.message(coapCON)
	size := 1 << power
	if len(t.payload) <= size {
		return m, true
	}
	end = offset+size >= len(t.payload)
	m.payload = t.payload[offset:min(offset+size, len(t.payload))]
	block := coapBlock{number: uint32(offset >> power), more: !end, power: power}
	m.options = withOption(m.options, block.option())
	// Without it, blocks of two bodies for one path could be taken for one
	// body's (RFC 9175, §3).
	m.options = withOption(m.options, coapOption{coapRequestTag, t.tag})
	return m, end
}

// judgeCoAP says what an answer means to a device, as judge does for HTTP.
func judgeCoAP(answer coapMessage) fate {
	err := fmt.Errorf("%v %.200q", answer.code, answer.payload)
	switch code := answer.code; {
	case code.class() == 2 && code != coapContinue:
		return fate{kind: fateAcked}
	case code.class() == 5 || code == coapTooMany || code == coapIncomplete || code == coapContinue:
		f := fate{kind: fateAgain, err: err}
		if o, ok := answer.option(coapMaxAge); ok {
			f.after = min(time.Duration(o.uint())*time.Second, maxRetryAfter)
		}
		return f
	case code == 4<<5|1 || code == 4<<5|3 || code == 4<<5|4 || code == 4<<5|5:
		return fate{kind: fateRefused, err: fmt.Errorf("%w: %w", ErrUnwanted, err)}
	}
	return fate{kind: fateRefused, err: err}
}

var errReset = errors.New("the other side does not know what to do with the message (RST)")
