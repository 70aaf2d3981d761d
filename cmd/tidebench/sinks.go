package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// fare is what readings have cost on their way out, four to a message.
type fare struct {
	readings float64
	load     load
	took     time.Duration
	cpu      time.Duration // of the gateway, or of what is in its place
}

// bytes is NaN for what there was not.
func (f fare) bytes() float64 { return float64(f.load.bytes) / f.readings }

// onTheLine is NaN for files as well, which have no headers of IP.
func (f fare) onTheLine() float64 {
	if f.load.segments == 0 {
		return math.NaN()
	}
	return float64(f.load.onTheLine()) / f.readings
}

func (f fare) perSecond() float64  { return f.readings / f.took.Seconds() }
func (f fare) perMillion() float64 { return f.cpu.Seconds() / f.readings * 1e6 }

// sender is a door out or a rival: live sends messages at a hundred a second, with a
// delay of the line each way, drain those that wait. Without a fare it cannot.
type sender struct {
	name  string
	live  func(ctx context.Context, delay time.Duration) (fare, error)
	drain func(ctx context.Context) (fare, error)
}

// voyage is what a sender did: the live loads once, a backlog in each round.
type voyage struct {
	near, remote fare
	drains       []fare
}

// remoteDelay makes a line of a round trip of 100 ms, as mobile networks have it.
const remoteDelay = 50 * time.Millisecond

// sinks measures what each door out puts on the line for a reading, how fast a
// backlog leaves through it, and at what cost; beside mosquitto as a bridge, and a
// loop that posts JSON.
func (b *bench) sinks(ctx context.Context) error {
	full, remove, err := b.folder("full")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	for raw, dir := range fullFolders(full) {
		if err := b.fillFolder(ctx, dir, raw); err != nil {
			return fmt.Errorf("fill a buffer: %w", err)
		}
	}
	return b.withServers(ctx, func(servers real, missing []string) error {
		all := b.senders(full, servers)
		voyages := make([]voyage, len(all))
		for round := range pick(b, 1, 3) {
			for i, s := range all {
				if err := b.sail(ctx, s, round, &voyages[i]); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
			}
		}
		t := sinksTable(all, voyages)
		for _, m := range missing {
			t.Foot = append(t.Foot, m+".")
		}
		b.report.Tables = append(b.report.Tables, t)
		return nil
	})
}

// liveMessages is how many there are at a hundred a second.
func (b *bench) liveMessages() uint64 { return pick(b, uint64(150), 2000) }

// backlogMessages is how many wait.
func (b *bench) backlogMessages() uint64 { return pick(b, uint64(10_000), 100_000) }

func (b *bench) sail(ctx context.Context, s sender, round int, v *voyage) (err error) {
	if round == 0 {
		if v.near, err = s.live(ctx, 0); err != nil {
			return err
		}
		if v.remote, err = s.live(ctx, remoteDelay); err != nil {
			return err
		}
	}
	drained, err := s.drain(ctx)
	if err != nil {
		return err
	}
	v.drains = append(v.drains, drained)
	b.say("%-32s live %6.1f B, at 100 ms %6.1f B, backlog %6.2f B/reading; %8.0f readings/s, %.2f CPU s per million",
		s.name, v.near.bytes(), v.remote.bytes(), drained.bytes(), drained.perSecond(), drained.perMillion())
	return nil
}

// senders returns the rivals first: the others are compared with the very first.
func (b *bench) senders(full string, servers real) []sender {
	var all []sender
	if m := servers["mosquitto"]; m != nil {
		all = append(all, b.bridge(m.Addr("mqtt")))
	}
	all = append(all, b.poster())
	for _, o := range present(servers) {
		all = append(all, sender{o.name,
			func(ctx context.Context, delay time.Duration) (fare, error) {
				return b.outletLive(ctx, o, servers, delay)
			},
			func(ctx context.Context) (fare, error) {
				return b.outletDrain(ctx, o, servers, fullFolders(full)[o.raw])
			},
		})
	}
	return all
}

// fullFolders are the folders of two gateways whose buffers were filled once: with
// payloads as they came, and with decoded ones.
func fullFolders(dir string) map[bool]string {
	return map[bool]string{true: filepath.Join(dir, "raw"), false: filepath.Join(dir, "read")}
}

// gatewayFor is an ordinary one with a door out.
func gatewayFor(o outlet, dir string) build {
	is := ordinary
	is.uplink = func(addr string) string { return o.table(addr, dir) }
	if o.raw {
		is.kept = "site/#"
	}
	return is
}

// fillFolder lets a gateway fill its buffer while there is nobody to send it to.
func (b *bench) fillFolder(ctx context.Context, dir string, raw bool) (err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	is := ordinary
	if raw {
		is.kept = "site/#"
	}
	g, err := b.startGatewayAt(ctx, addr, dir, forSpeed, nowhere, is)
	if err != nil {
		return err
	}
	return errors.Join(fill(ctx, crowd(addr), b.backlogMessages()), g.stop())
}

// outletLive sends messages as they come.
func (b *bench) outletLive(ctx context.Context, o outlet, servers real, delay time.Duration) (f fare, err error) {
	if delay > 0 && o.server == "" {
		return f, nil // a folder has no line
	}
	err = b.reach(ctx, o, servers, func(to far) (err error) {
		messages := b.liveMessages()
		to.delay(delay)
		g, dir, err := b.gatewayTo(ctx, o, to, "")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, g.stop(), os.RemoveAll(dir)) }()
		began := time.Now()
		used, err := g.cpu()
		if err != nil {
			return err
		}
		if err := fill(ctx, paced(100, 1)(g.addr), messages); err != nil {
			return err
		}
		if err := g.untilDelivered(ctx); err != nil {
			return err
		}
		f, err = g.bill(ctx, to, o, messages)
		now, failed := g.cpu()
		f.took, f.cpu = time.Since(began), now-used
		return errors.Join(err, failed)
	})
	return f, err
}

// outletDrain lets a full buffer leave.
func (b *bench) outletDrain(ctx context.Context, o outlet, servers real, full string) (f fare, err error) {
	err = b.reach(ctx, o, servers, func(to far) (err error) {
		if err := to.cut(); err != nil {
			return err
		}
		g, dir, err := b.gatewayTo(ctx, o, to, full)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, g.stop(), os.RemoveAll(dir)) }()
		e, err := g.release(ctx, to.restore)
		if err != nil {
			return err
		}
		f, err = g.bill(ctx, to, o, b.backlogMessages())
		f.took, f.cpu = e.took, e.cpu
		return err
	})
	return f, err
}

// gatewayTo starts a gateway with a door out, on a copy of a full folder if there is
// one.
func (b *bench) gatewayTo(ctx context.Context, o outlet, to far, full string) (_ *gateway, dir string, err error) {
	if dir, _, err = b.folder("sink"); err != nil {
		return nil, "", err
	}
	if full != "" {
		if err := os.CopyFS(filepath.Join(dir, "data"), os.DirFS(filepath.Join(full, "data"))); err != nil {
			return nil, "", err
		}
	}
	addr, err := freeAddress()
	if err != nil {
		return nil, "", err
	}
	is := gatewayFor(o, to.dir)
	g, err := b.startGatewayAt(ctx, addr, dir, forSpeed, "far://"+to.addr(), is)
	return g, dir, err
}

// bill is what was carried for so many messages, after a look that they were.
func (g *gateway) bill(ctx context.Context, to far, o outlet, messages uint64) (fare, error) {
	s, err := g.status(ctx)
	if err != nil {
		return fare{}, err
	}
	want := messages * metrics
	if o.raw {
		want = messages
	}
	if l := s.Links[0]; l.Acked != want || l.LeftOut > 0 {
		return fare{}, fmt.Errorf("%d of %d readings were acknowledged, %d were left out: %s", l.Acked, want, l.LeftOut, l.LastError)
	}
	carried, err := to.carried()
	return fare{readings: float64(messages * metrics), load: carried}, err
}

// sinksTable has a row a sender. Ratios are taken round by round.
func sinksTable(all []sender, voyages []voyage) table {
	t := table{Cell: "sinks", Columns: strings.Split("door|live B/reading|with TCP/IP|/ bridge|at 100 ms|with TCP/IP|/ bridge|"+
		"backlog B/reading|with TCP/IP|/ bridge|readings/s|/ bridge|CPU s per million|/ bridge", "|")}
	bridged := all[0].name == bridgeName
	for i, s := range all {
		v, bridge := voyages[i], voyages[0]
		beside := func(of func(fare) float64) float64 {
			var ratios []float64
			for round, f := range v.drains {
				ratios = append(ratios, of(f)/of(bridge.drains[round]))
			}
			return median(ratios)
		}
		values := []float64{
			v.near.bytes(), v.near.onTheLine(), v.near.onTheLine() / bridge.near.onTheLine(),
			v.remote.bytes(), v.remote.onTheLine(), v.remote.onTheLine() / bridge.remote.onTheLine(),
			medianOf(v.drains, fare.bytes), medianOf(v.drains, fare.onTheLine), beside(fare.onTheLine),
			medianOf(v.drains, fare.perSecond), beside(fare.perSecond),
			medianOf(v.drains, fare.perMillion), beside(fare.perMillion),
		}
		for _, ratio := range []int{2, 5, 8, 10, 12} {
			if !bridged {
				values[ratio] = math.NaN()
			}
		}
		t.Rows = append(t.Rows, row{[]string{s.name}, values})
	}
	t.Foot = []string{
		"Bytes go both ways: payload of TCP, and with 52 bytes of headers for each segment of up to 1,448. Connecting is part of it.",
		"A reading is a quarter of a message of JSON. Live is 100 messages a second, at once and over a line with a round trip of 100 ms.",
		"/ bridge: beside mosquitto in the same round; bytes with TCP/IP. file: bytes of the files, which need no line.",
		"The poster drains a tenth, its server keeps nothing, and over 100 ms it would get ten readings away in a second.",
		"Kafka is kfake, franz-go's imitation of a broker; no Kafka was measured.",
	}
	return t
}
