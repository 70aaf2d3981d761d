package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
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
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/wire"
)

// New opens the buffer and the listeners, and wires everything up. The Daemon
// must be Run, which closes them again.
func New(cfg Config, log *slog.Logger) (*Daemon, error) {
	gateway, err := cfg.Gateway.Identity()
	if err != nil {
		return nil, err
	}
	ear := &heard{last: make(map[string]utterance)}
	log = ear.over(log)
	d := &Daemon{cfg: cfg, gateway: gateway, log: log, heard: ear, started: time.Now(), beside: make(map[string]http.Handler), memory: ingest.NewMemory()}
	d.hub = dashboard.NewHub(dashboard.Config{}, d.status)
	if d.buffer, err = buffer.Open(bufferConfig(cfg), log); err != nil {
		return nil, err
	}
	if err := errors.Join(d.buildLinks(), d.buildCommands(), d.buildDoors(), d.buildPages()); err != nil {
		d.closeListeners()
		return nil, errors.Join(err, d.buffer.Close())
	}
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
type custody struct{ buffer *buffer.Buffer }

func (c custody) Accept(ctx context.Context, rs []reading.Reading, notes ...reading.Note) (ingest.Receipt, error) {
	receipt, err := c.buffer.Accept(ctx, rs, notes...)
	switch {
	case errors.Is(err, buffer.ErrFull):
		return nil, full{err}
	case err != nil:
		return nil, err
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
func (d *Daemon) buildDoors() error {
	v, err := d.cfg.vocabulary()
	if err != nil {
		return err
	}
	d.chains = v.chains
	clients := d.cfg.clientsWithin(descriptors())
	d.cfg.tellClients(d.log)
	if m := d.cfg.Ingest.MQTT; m.Listen != "" {
		table, err := v.table(m.Routes, m.Dialects...)
		if err != nil {
			return fmt.Errorf("ingest.mqtt: %w", err)
		}
		log := d.log.With("source", "mqtt")
		door := mqttin.Config{
			Listen:        m.Listen,
			ListenPlain:   m.PlainListen,
			Routes:        table,
			MaxPacket:     int(m.MaxPacket),
			MaxClients:    clients["mqtt"],
			MaxRate:       m.MaxRate,
			MaxByteRate:   int(m.MaxByteRate),
			SessionExpiry: time.Duration(m.SessionExpiry),
			SysInterval:   m.sysInterval(),
			Version:       Version,
			MatchClientID: m.RequireClientIDMatch,
			Rules:         m.rules(),
			Delivered:     d.commands.delivered(),
		}
		if err := m.admit(&door, log); err != nil {
			return fmt.Errorf("ingest.mqtt: %w", err)
		}
		broker := mqttin.New(door, log)
		if d.commands != nil {
			d.commands.outlet.broker = broker
		}
		d.addDoor("mqtt", broker, table.Filters()...)
		if m.WebSocket {
			d.beside["GET /mqtt"] = broker
		}
	}
	return errors.Join(
		d.buildHTTP(v, clients["http"]),
		d.buildModbus(v),
		d.buildSerial(v),
		d.buildCoAP(v),
		d.buildLines(v, clients),
	)
}

// buildHTTP builds the door for devices that POST.
func (d *Daemon) buildHTTP(v vocabulary, clients int) error {
	h := d.cfg.Ingest.HTTP
	if h.Listen == "" {
		return nil
	}
	table, err := v.table(h.Routes)
	if err != nil {
		return fmt.Errorf("ingest.http: %w", err)
	}
	log := d.log.With("source", "http")
	door := httpin.Config{
		Listen: h.Listen, Routes: table, Types: v.contentTypes(), LineProtocol: lineProtocol(),
		MaxBody: int(h.MaxBody), MaxClients: clients,
	}
	if err := h.admit(&door, log); err != nil {
		return fmt.Errorf("ingest.http: %w", err)
	}
	d.addDoor("http", httpin.New(door, log), table.Filters()...)
	return nil
}

// buildModbus builds the buses whose slaves are polled.
func (d *Daemon) buildModbus(v vocabulary) error {
	for _, m := range d.cfg.Ingest.Modbus {
		name := m.doorName()
		bus, err := modbusin.New(m.bus(d.cfg.Modbus.Maps, v), d.log.With("source", name))
		if err != nil {
			return fmt.Errorf("ingest.modbus %q: %w", m.Name, err)
		}
		d.addDoor(name, bus, bus.Filters()...)
	}
	return nil
}

// buildCoAP builds the door for devices that speak CoAP.
func (d *Daemon) buildCoAP(v vocabulary) error {
	c := d.cfg.Ingest.CoAP
	if c.Listen == "" && c.DTLSListen == "" {
		return nil
	}
	v.users = true
	table, err := v.table(c.Routes)
	if err != nil {
		return fmt.Errorf("ingest.coap: %w", err)
	}
	log := d.log.With("source", "coap")
	door := coapin.Config{
		Listen: c.Listen, ListenDTLS: c.DTLSListen, Routes: table, Formats: v.contentFormats(),
		MaxBody: int(c.MaxBody), MaxEndpoints: c.MaxEndpoints, MaxSessions: c.MaxSessions, MaxRate: c.MaxRate,
	}
	if err := c.admit(&door, log); err != nil {
		return fmt.Errorf("ingest.coap: %w", err)
	}
	d.addDoor("coap", coapin.New(door, log), table.Filters()...)
	return nil
}

// addDoor gives the door an intake of its own, which counts what comes in there.
// Filters of the door that lean on what custody has are told when it has not.
func (d *Daemon) addDoor(name string, source ingest.Source, forget ...func()) {
	intake := ingest.NewIntake(custody{d.buffer}, d.hub, time.Now).WithMemory(d.memory)
	for _, f := range forget {
		intake.OnLoss(f)
	}
	d.doors = append(d.doors, door{name, source, intake})
}

// buildLinks builds the doors out, of whatever kind.
func (d *Daemon) buildLinks() error {
	d.network = openNetwork(d.cfg, d.log)
	for _, u := range d.cfg.Uplink.all() {
		if err := d.addLink(u); err != nil {
			return fmt.Errorf("uplink.%s %q: %w", u.kind, u.settings().Name, err)
		}
	}
	return nil
}

func (d *Daemon) addLink(u upstream) error {
	s := u.settings()
	log := d.log.With("sink", s.Name)
	secure, err := s.tlsClient(d.cfg.clockFloor(), log)
	if err != nil {
		return err
	}
	l := link{name: s.Name, kind: u.kind, cursor: d.buffer.Cursor(s.Name), wake: make(chan struct{}, 1)}
	l.path = d.network.path(s.Links, l.rouse, log)
	l.open = func() (uplink.Sink, error) {
		return u.sink(way{gateway: d.gateway, dial: l.path.Dial, tls: secure, log: log, reserved: reservation(d.cfg), answered: d.besides(u)})
	}
	if l.sink, err = l.open(); err != nil {
		return err
	}
	encoder, err := u.encoder(d.gateway)
	if err != nil {
		return err
	}
	l.leftOut = leavingOut(encoder)
	l.forwarder = uplink.New(uplink.Config{
		Gateway: d.gateway, MaxBatch: int(s.MaxBatch), Window: s.Window, Timeout: time.Duration(s.Timeout), Wake: l.wake, Gate: gate{l.path}, Stall: max(stallAfter, 2*time.Duration(s.Timeout)),
	}, l.cursor, encoder, l.sink, quarantine{d.buffer, s.Name}, log)
	d.links = append(d.links, &l)
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

func (d *Daemon) buildPages() (err error) {
	if d.cfg.Dashboard.Listen != "" {
		if d.page, err = listen("dashboard", d.cfg.Dashboard.Listen); err != nil {
			return err
		}
	}
	d.admin, err = listenAdmin(d.cfg.Gateway.SocketPath())
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
