package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/coapin"
	"github.com/tidegate/tidegate/ingest/httpin"
	"github.com/tidegate/tidegate/ingest/modbusin"
	"github.com/tidegate/tidegate/ingest/mqttin"
	"github.com/tidegate/tidegate/internal/bootclock"
	"github.com/tidegate/tidegate/internal/identify"
	"github.com/tidegate/tidegate/internal/logtail"
	"github.com/tidegate/tidegate/internal/serialport"
	"github.com/tidegate/tidegate/internal/starts"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/wire"
)

// New opens the buffer and the listeners, and wires everything up. The Daemon
// must be Run, which closes them again.
func New(cfg Config, log *slog.Logger) (*Daemon, error) { return new(maker).make(cfg, log) }

// maker makes the gateway, of one configuration after the other until one can be used: all
// that is one start of the program.
type maker struct {
	begun *starts.Start // nil until it is noted
}

func (m *maker) make(cfg Config, log *slog.Logger) (*Daemon, error) {
	is, err := cfg.Gateway.identify(thisMachine())
	if err != nil {
		return nil, err
	}
	tail := logtail.New(log.Handler())
	log = slog.New(tail)
	d := &Daemon{gateway: is.ID, log: log, watch: newWatch(tail), started: time.Now(), memory: ingest.NewMemory(), orders: make(chan order)}
	d.signal = identify.New(d.shows, log)
	d.hub = dashboard.NewHub(dashboard.Config{}, d.status)
	d.bench = newWorkbench(serialport.Host{}, d)
	d.begins(m, cfg.Gateway.DataDir)
	if d.buffer, err = buffer.Open(bufferConfig(cfg), log); err != nil {
		if errors.Is(err, buffer.ErrInUse) {
			m.begun.Withdraw() // this is no start of the gateway that runs
			m.begun = nil
		}
		return nil, err
	}
	is.keep(cfg.Gateway.DataDir, log)
	first, err := d.build(cfg, &generation{})
	if err := errors.Join(err, d.buildPages(cfg)); err != nil {
		d.closeListeners()
		return nil, errors.Join(err, d.buffer.Close())
	}
	cfg.tellClients(log)
	d.generation.Store(first)
	d.from("", nil)
	return d, nil
}

func bufferConfig(cfg Config) buffer.Config {
	boot := bootclock.BootID()
	return buffer.Config{
		Dir:         filepath.Join(cfg.Gateway.DataDir, "journal"),
		MaxBytes:    int64(cfg.Buffer.MaxBytes),
		FlashBudget: cfg.Buffer.DailyFlash(),
		MaxAckDelay: cfg.Buffer.AckDelay(),
		Pace:        time.Duration(cfg.Buffer.CommitInterval),
		Lanes:       cfg.Buffer.Lanes(),
		Clock: buffer.Clock{
			Boot:   boot,
			Uptime: bootclock.Uptime,
			State:  clockState,
		},
	}
}

func clockState() wire.ClockState {
	if bootclock.Synced() {
		return wire.Synced
	}
	return wire.Unsynced
}

// custody is the arrow from the doors to the buffer: neither knows the other.
type custody struct {
	buffer *buffer.Buffer
	came   chan<- struct{} // receives when readings were taken; may be nil
}

func (c custody) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	receipt, err := c.buffer.Accept(ctx, rs, notes...)
	switch {
	case errors.Is(err, buffer.ErrFull):
		return nil, full{err}
	case err != nil:
		return nil, err
	}
	if len(rs) > 0 {
		select {
		case c.came <- struct{}{}:
		default: // who listens knows already
		}
	}
	return receipt, nil
}

// full is the buffer's word for what the doors call ingest.ErrFull.
type full struct{ error }

func (full) Is(target error) bool { return target == ingest.ErrFull }

func (c custody) Notes(ctx context.Context, prefix string, visit func(reading.Note) error) error {
	return c.buffer.Notes(ctx, prefix, visit)
}

// quarantine is the arrow from a link to the place for what it could not
// deliver.
type quarantine struct {
	buffer *buffer.Buffer
	sink   string
}

func (q quarantine) Quarantine(b wire.Block, reason string) error {
	return q.buffer.Quarantine(q.sink, b, reason)
}

// buildDoors has one paragraph for every kind of door in.
func (b *builder) buildDoors() error {
	v, err := b.cfg.vocabulary()
	if err != nil {
		return err
	}
	clients := b.cfg.clientsWithin(descriptors())
	return errors.Join(
		b.buildMQTT(v, clients["mqtt"]),
		b.buildHTTP(v, clients["http"]),
		b.buildModbus(v),
		b.buildSerial(v),
		b.buildCoAP(v),
		b.buildLines(v, clients),
		b.buildHost(v),
	)
}

// buildMQTT builds the broker.
func (b *builder) buildMQTT(v vocabulary, clients int) error {
	m := b.cfg.Ingest.MQTT
	if m.Listen == "" {
		return nil
	}
	orders := b.cfg.Command.on()
	return b.door("mqtt", of(m, clients, orders, b.cfg.toldOf(m.Routes)), v, func(v vocabulary) (ingest.Source, []func(), error) {
		table, err := v.table(m.Routes, m.Dialects...)
		if err != nil {
			return nil, nil, fmt.Errorf("ingest.mqtt: %w", err)
		}
		log := b.log.With("source", "mqtt")
		door := mqttin.Config{
			Listen:        m.Listen,
			ListenPlain:   m.PlainListen,
			Routes:        table,
			MaxPacket:     int(m.MaxPacket),
			MaxClients:    clients,
			MaxRate:       m.MaxRate,
			MaxByteRate:   int(m.MaxByteRate),
			SessionExpiry: time.Duration(m.SessionExpiry),
			SysInterval:   m.sysInterval(),
			Version:       Version,
			MatchClientID: m.RequireClientIDMatch,
			Rules:         m.rules(),
		}
		if orders {
			door.Delivered = b.delivered
		}
		if err := m.admit(&door, log); err != nil {
			return nil, nil, fmt.Errorf("ingest.mqtt: %w", err)
		}
		return mqttin.New(door, log), table.Filters(), nil
	})
}

// buildHTTP builds the door for devices that POST.
func (b *builder) buildHTTP(v vocabulary, clients int) error {
	h := b.cfg.Ingest.HTTP
	if h.Listen == "" {
		return nil
	}
	return b.door("http", of(h, clients, b.cfg.toldOf(h.Routes)), v, func(v vocabulary) (ingest.Source, []func(), error) {
		table, err := v.table(h.Routes)
		if err != nil {
			return nil, nil, fmt.Errorf("ingest.http: %w", err)
		}
		log := b.log.With("source", "http")
		door := httpin.Config{
			Listen: h.Listen, Routes: table, Types: v.contentTypes(), LineProtocol: lineProtocol(),
			MaxBody: int(h.MaxBody), MaxClients: clients,
		}
		if err := h.admit(&door, log); err != nil {
			return nil, nil, fmt.Errorf("ingest.http: %w", err)
		}
		return httpin.New(door, log), table.Filters(), nil
	})
}

// buildModbus builds the buses whose slaves are polled.
func (b *builder) buildModbus(v vocabulary) error {
	for _, m := range b.cfg.Ingest.Modbus {
		name := m.doorName()
		err := b.door(name, of(m, b.cfg.Modbus, b.cfg.told(m.meanings()...)), v, func(v vocabulary) (ingest.Source, []func(), error) {
			bus, err := modbusin.New(m.bus(b.cfg.Modbus.Maps, v), b.log.With("source", name))
			if err != nil {
				return nil, nil, fmt.Errorf("ingest.modbus %q: %w", m.Name, err)
			}
			return bus, bus.Filters(), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// buildCoAP builds the door for devices that speak CoAP.
func (b *builder) buildCoAP(v vocabulary) error {
	c := b.cfg.Ingest.CoAP
	if c.Listen == "" && c.DTLSListen == "" {
		return nil
	}
	return b.door("coap", of(c, b.cfg.toldOf(c.Routes)), v, func(v vocabulary) (ingest.Source, []func(), error) {
		v.users = true
		table, err := v.table(c.Routes)
		if err != nil {
			return nil, nil, fmt.Errorf("ingest.coap: %w", err)
		}
		log := b.log.With("source", "coap")
		door := coapin.Config{
			Listen: c.Listen, ListenDTLS: c.DTLSListen, Routes: table, Formats: v.contentFormats(),
			MaxBody: int(c.MaxBody), MaxEndpoints: c.MaxEndpoints, MaxSessions: c.MaxSessions, MaxRate: c.MaxRate,
		}
		if err := c.admit(&door, log); err != nil {
			return nil, nil, fmt.Errorf("ingest.coap: %w", err)
		}
		return coapin.New(door, log), table.Filters(), nil
	})
}

// buildLinks builds the doors out, of whatever kind.
func (b *builder) buildLinks() error {
	b.openNetwork()
	for _, u := range b.cfg.Uplink.all() {
		if err := b.addLink(u); err != nil {
			return fmt.Errorf("uplink.%s %q: %w", u.kind, u.settings().Name, err)
		}
	}
	return nil
}

func (b *builder) addLink(u upstream) error {
	s := u.settings()
	made := of(u.kind, u.doorOut, b.network.made(s.Links), b.cfg.Command.beside(s.Name), secrets(u.doorOut), keptFileAt(s.TLSCA))
	if l := b.old.link(s.Name); l.is(made) {
		b.links = append(b.links, l)
		return nil
	}
	log := b.log.With("sink", s.Name)
	secure, err := s.tlsClient(b.cfg.clockFloor(), log)
	if err != nil {
		return err
	}
	l := &link{part: part{name: s.Name, made: made}, kind: u.kind, target: withoutQuery(u.target()), wake: make(chan struct{}, 1)}
	l.path = b.network.path(s.Links, l.rouse, log)
	d, w := b.Daemon, way{gateway: b.gateway, dial: l.path.Dial, tls: secure, log: log, reserved: reservation(b.cfg), answered: b.besides(b.cfg, u)}
	l.open = func() (uplink.Sink, error) { return u.sink(w) } // of whoever holds it, a generation that is no more must not be
	if l.sink, err = l.open(); err != nil {
		l.path.Leave() // ways out outlive this
		return err
	}
	b.links = append(b.links, l)
	encoder, err := u.encoder(b.gateway)
	if err != nil {
		return err
	}
	l.leftOut = leavingOut(encoder)
	l.attach = func(cursor *buffer.Cursor) {
		l.cursor = cursor
		l.forwarder = uplink.New(uplink.Config{
			Gateway: d.gateway, MaxBatch: int(s.MaxBatch), Window: s.Window, Timeout: time.Duration(s.Timeout), Wake: l.wake, Gate: gate{l.path}, Stall: max(stallAfter, 2*time.Duration(s.Timeout)),
		}, cursor, encoder, l.sink, quarantine{d.buffer, s.Name}, log)
	}
	return nil
}

// leavingOut is how many readings an encoder could not say.
func leavingOut(encoder uplink.Encoder) func() uint64 {
	if c, ok := encoder.(interface{ LeftOut() uint64 }); ok {
		return c.LeftOut
	}
	return func() uint64 { return 0 }
}

// closer is how a sink lets go of its connections.
func closer(sink uplink.Sink) func() error {
	if c, ok := sink.(io.Closer); ok {
		return c.Close
	}
	return func() error { return nil }
}

// clockFloor is a time that has passed for certain: the last one at which this
// gateway, or the gateway before this start, wrote to its folder.
func (c Config) clockFloor() time.Time {
	info, err := os.Stat(filepath.Join(c.Gateway.DataDir, "journal", "state.db"))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func (d *Daemon) buildPages(cfg Config) (err error) {
	if err := d.openGate(cfg); err != nil {
		return err
	}
	if cfg.Dashboard.Listen != "" {
		if d.page, err = listen("dashboard", cfg.Dashboard.Listen); err != nil {
			return err
		}
	}
	d.admin, err = listenAdmin(cfg.Gateway.SocketPath())
	for _, passing := range []error{syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT} { // what waits is delivered all the same
		if errors.Is(err, passing) {
			d.log.Warn("commands cannot ask this gateway; the live page works — hint: let gateway.admin_socket name a file in /run", "err", err)
			return nil
		}
	}
	return err
}

// listen opens a TCP listener; key names the table of the configuration.
func listen(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w — hint: another program may listen there; see \"ss -ltnp\", or change %s.listen", key, err, key)
	}
	return l, nil
}

// listenAdmin opens the admin socket. The buffer's lock says that no other
// daemon runs on this folder, so a socket that is there already is a dead one.
func listenAdmin(path string) (net.Listener, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("admin socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("admin socket: %w — hint: set gateway.admin_socket to a path of less than 108 bytes in a folder that this user may write", err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("admin socket: %w", err), l.Close())
	}
	return l, nil
}

func (d *Daemon) closeListeners() {
	for _, l := range []net.Listener{d.page, d.admin} {
		if l != nil {
			l.Close() // those that served are closed already, and say so
		}
	}
}
