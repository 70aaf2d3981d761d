package firmwaresim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// SenderConfig describes devices that send over something else than MQTT. Zero
// values stand for the defaults.
type SenderConfig struct {
	// URL says where to and how: http://, https://, coap://, tcp:// or udp://.
	// {device} in it stands for the device's name, {metric} for the metric of
	// shape Plain. Without a path, HTTP gets /v1/readings/site/sim/dev/{device}/telemetry
	// and CoAP /site/sim/dev/{device}/telemetry.
	URL string
	// Devices is how many there are, 1 by default.
	Devices int
	// Rate is messages a second and device; 0 means as fast as answers come.
	Rate float64
	// Count ends the run after so many messages of all devices; 0 means when the
	// context ends.
	Count uint64
	// Window is how many messages of a device may be unanswered, 1 by default.
	// Over UDP with Reply, it is 1; where nothing answers, it means nothing.
	Window int
	// Shape is the payload over HTTP and CoAP, JSON4 by default.
	Shape Shape
	// Encoding is what is sent over TCP and UDP, JSONLine by default. Summed adds
	// a CRC to lines of text, Named the device's name.
	Encoding      Encoding
	Summed, Named bool
	// Audited adds the counter seq to every sample of Shape. With a ledger, that
	// is always so.
	Audited bool
	// Seed makes two runs equal, byte for byte, given the same times.
	Seed uint64
	// Prefix begins the devices' names, "dev-" by default.
	Prefix string
	// Token, if not empty, is sent over HTTP as a bearer token.
	Token string
	// Reply, if not empty, is what the other side sends over TCP and UDP for each
	// frame that it has taken custody of.
	Reply string
	// Timeout is how long an answer over HTTP, TCP or UDP may take, 10 s by
	// default. What is not answered is sent again.
	Timeout time.Duration
	// Put says PUT instead of POST, over HTTP and CoAP.
	Put bool
	// NonConfirmable sends NON over CoAP, which nobody acknowledges.
	NonConfirmable bool
	// BlockSize is the size of blocks over CoAP, a power of two from 16 to 1024;
	// 512 by default. What is longer goes in blocks.
	BlockSize int
	// AckTimeout is that of RFC 7252, 2 s by default: how long the first
	// retransmission over CoAP waits, at least.
	AckTimeout time.Duration
	// Forgiving enters retransmissions over CoAP into the ledger as sent again. A
	// gateway recognises them, but not after it was killed.
	Forgiving bool
	// Faults is what goes wrong.
	Faults Faults
}

// SenderStats counts since the start, over all devices.
type SenderStats struct {
	// Messages were sent, not counting how often; Acked ones were acknowledged;
	// Refused ones will never be; Again counts how often one was sent again.
	Messages, Acked, Refused, Again uint64
	// Retransmitted counts datagrams that CoAP repeated.
	Retransmitted uint64
	// Troubles counts attempts that got no answer or one that says to come again.
	Troubles uint64
	// Bytes of payloads or frames, once each.
	Bytes uint64
	// Latency is how long acknowledgements took, counted from the first attempt.
	Latency Latency
	// LastTrouble is what the last attempt that went wrong met; "" if none did.
	LastTrouble string
}

// Sender is many devices that send to one address.
type Sender struct {
	cfg     SenderConfig
	scheme  string
	ledger  *Ledger
	devices []*sendingDevice

	messages, acked, refused, again, retransmitted, troubles, bytes atomic.Uint64

	latency histogram
	trouble atomic.Pointer[string]
}

// NewSender returns the devices that cfg describes. What was sent and
// acknowledged is entered into the ledger, which may be nil.
func NewSender(cfg SenderConfig, ledger *Ledger) (*Sender, error) {
	cfg = cfg.withDefaults()
	cfg.Audited = cfg.Audited || ledger != nil
	s := &Sender{cfg: cfg, ledger: ledger}
	s.scheme, _, _ = strings.Cut(cfg.URL, "://")
	if s.lines() && cfg.Reply == "" {
		s.cfg.Window = 1
	}
	if err := s.check(); err != nil {
		return nil, err
	}
	for i := range s.cfg.Devices {
		d, err := s.device(i)
		if err != nil {
			return nil, err
		}
		s.devices = append(s.devices, d)
	}
	return s, nil
}

func (cfg SenderConfig) withDefaults() SenderConfig {
	cfg.Devices = cmp.Or(cfg.Devices, 1)
	cfg.Window = cmp.Or(cfg.Window, 1)
	cfg.Shape = cmp.Or(cfg.Shape, JSON4)
	cfg.Encoding = cmp.Or(cfg.Encoding, JSONLine)
	cfg.Prefix = cmp.Or(cfg.Prefix, "dev-")
	cfg.Timeout = cmp.Or(cfg.Timeout, 10*time.Second)
	cfg.BlockSize = cmp.Or(cfg.BlockSize, 512)
	cfg.AckTimeout = cmp.Or(cfg.AckTimeout, 2*time.Second)
	return cfg
}

func (s *Sender) lines() bool { return s.scheme == "tcp" || s.scheme == "udp" }

func (s *Sender) check() error {
	cfg := s.cfg
	switch {
	case !slices.Contains([]string{"http", "https", "coap", "tcp", "udp"}, s.scheme):
		return fmt.Errorf("%q is nowhere to send to — hint: http://host:port/…, coap://host/…, tcp://host:port or udp://host:port", cfg.URL)
	case cfg.Devices < 1 || cfg.Window < 1 || cfg.Rate < 0:
		return errors.New("a sender needs a device, a window of 1 and a rate of 0, at least")
	case cfg.Window > maxWindow:
		return fmt.Errorf("a window of %d — hint: %d at the most", cfg.Window, maxWindow)
	case !slices.Contains(Shapes(), cfg.Shape):
		return fmt.Errorf("shape %q is not one of %v", cfg.Shape, Shapes())
	case cfg.Audited && cfg.Shape == Opaque && !s.lines():
		return fmt.Errorf("shape %q carries no counter, so it cannot be audited — hint: another shape or no ledger", Opaque)
	case cfg.BlockSize < 16 || cfg.BlockSize > 1024 || cfg.BlockSize&(cfg.BlockSize-1) != 0:
		return fmt.Errorf("blocks of %d bytes — hint: a power of two from 16 to 1024", cfg.BlockSize)
	case cfg.Reply != "" && !s.lines():
		return fmt.Errorf("%s has acknowledgements of its own — hint: a reply is for tcp and udp", s.scheme)
	case (cfg.Summed || cfg.Named) && !cfg.Encoding.line():
		return fmt.Errorf("encoding %q has no place for a CRC or a name — hint: lines of text have one", cfg.Encoding)
	case cfg.Reply != "" && s.scheme == "udp" && cfg.Window > 1:
		return errors.New("a reply over UDP does not say for what it is — hint: a window of 1")
	}
	if err := cfg.Encoding.check(); err != nil {
		return err
	}
	return s.checkFaults()
}

// checkFaults refuses faults that would make a liar of an honest gateway, or
// that nothing would come of.
func (s *Sender) checkFaults() error {
	f := s.cfg.Faults
	switch {
	case s.scheme == "coap":
		return f.only("over CoAP", "drop", "duplicate", "pause", "stuck", clock1970)
	case !s.lines():
		return f.only("over HTTP", "duplicate", "pause", "stuck", clock1970)
	case s.cfg.Reply != "" && s.scheme == "tcp":
		return f.only("where TCP is replied to", "split", "merge", "duplicate", "pause", "stuck", clock1970)
	case s.cfg.Reply != "":
		return f.only("where UDP is replied to", "drop", "duplicate", "stuck", clock1970)
	case s.scheme == "udp":
		return f.only("over UDP", "noise", "corrupt", "drop", "duplicate", "stuck", clock1970)
	}
	return nil
}

// Run sends until ctx ends or Count messages are sent and answered. It returns
// ErrUnwanted, wrapped, when the other side does not want a device at all.
func (s *Sender) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	return s.ledger.during(func() { cancel(nil) }, func() error {
		var work sync.WaitGroup
		for _, d := range s.devices {
			work.Go(func() {
				if err := d.run(ctx); err != nil {
					cancel(fmt.Errorf("%s: %w", d.name, err))
				}
			})
		}
		work.Wait()
		if err := context.Cause(ctx); errors.Is(err, ErrUnwanted) {
			return err
		}
		return nil
	})
}

// ErrUnwanted means that the other side will take nothing from this device, or
// nothing at this address: trying again with the same will not help.
var ErrUnwanted = errors.New("the device is not wanted there")

// Stats returns the counts so far.
func (s *Sender) Stats() SenderStats {
	stats := SenderStats{
		Messages: s.messages.Load(), Acked: s.acked.Load(), Refused: s.refused.Load(), Again: s.again.Load(),
		Retransmitted: s.retransmitted.Load(), Troubles: s.troubles.Load(), Bytes: s.bytes.Load(),
	}
	stats.Latency.merge(&s.latency)
	if trouble := s.trouble.Load(); trouble != nil {
		stats.LastTrouble = *trouble
	}
	return stats
}

func (s *Sender) troubled(err error) {
	s.troubles.Add(1)
	text := err.Error()
	s.trouble.Store(&text)
}

// device returns one device and its way to the other side.
func (s *Sender) device(index int) (*sendingDevice, error) {
	cfg := s.cfg
	d := &sendingDevice{
		sender: s, name: deviceName(cfg.Prefix, index), count: math.MaxUint64,
		device: NewDevice(cfg.Seed, index, cfg.Shape, cfg.Audited || s.lines()),
		stream: cfg.Faults.Stream(cfg.Seed, index),
	}
	d.account = s.ledger.account(d.name)
	d.device.Afflict(cfg.Faults, cfg.Seed, index)
	if cfg.Count > 0 {
		d.count = share(cfg.Count, cfg.Devices, index)
	}
	if cfg.Rate > 0 {
		d.period = time.Duration(float64(time.Second) / cfg.Rate)
		d.offset = d.period * time.Duration(index) / time.Duration(cfg.Devices)
	}
	return d, d.address()
}

// address finds out the URLs of a device, by metric.
func (d *sendingDevice) address() error {
	d.urls = make(map[string]*url.URL)
	for _, metric := range append(plainMetrics(), "seq", "") {
		text := strings.NewReplacer("{device}", d.name, "{metric}", metric).Replace(d.sender.cfg.URL)
		u, err := url.Parse(text)
		if err != nil {
			return fmt.Errorf("%w — hint: http://host:port/…, coap://host/…, tcp://host:port or udp://host:port", err)
		}
		if u.Hostname() == "" || d.sender.lines() && u.Port() == "" {
			return fmt.Errorf("%q names no host and port — hint: for example %s://127.0.0.1:4000", d.sender.cfg.URL, u.Scheme)
		}
		if u.Path == "" || u.Path == "/" {
			u.Path = map[string]string{"coap": "/", "http": "/v1/readings/", "https": "/v1/readings/"}[u.Scheme] +
				"site/sim/dev/" + d.name + "/" + map[bool]string{true: metric, false: "telemetry"}[d.sender.cfg.Shape == Plain]
		}
		d.urls[metric] = u
	}
	return nil
}
