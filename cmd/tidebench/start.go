package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"

	"golang.org/x/sys/unix"
)

// room is the table of [buffer] of a gateway that may keep the backlog of this cell.
const room = "[buffer]\nmax_bytes = \"2GiB\"\n"

// ending is how the run before a start has ended.
type ending struct {
	name string
	by   func(g *gateway, dir string) error
	bar  bar
}

func endings() []ending {
	stop := func(g *gateway, _ string) error { return g.stop() }
	kill := func(g *gateway, _ string) error { g.kill(); return nil }
	lose := func(g *gateway, dir string) error {
		g.kill()
		return os.Remove(filepath.Join(dir, "data", "journal", "state.db"))
	}
	return []ending{{"a stop", stop, most(300)}, {"kill -9", kill, most(300)}, {"kill -9 and the loss of state.db", lose, noBar()}}
}

// startUp is how long a start took, in milliseconds.
type startUp struct{ accepts, ready float64 }

// starting looks at how long a gateway with a long backlog takes until it listens, and
// until it says that it is ready, with files that are in memory and with none: those of
// the program neither.
func (b *bench) starting(ctx context.Context) (err error) {
	dir, remove, err := b.folder("start")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	size := pick(b, 64<<20, 1<<30)
	g, err := b.startOne(ctx, dir, nil)
	if err == nil {
		err = b.fillNoise(ctx, g, size)
	}
	if err != nil {
		return err
	}
	t := table{Cell: "start", Columns: []string{"after", "files", "accepts ms", "READY=1 ms"}}
	for _, e := range endings() {
		for _, cold := range []bool{false, true} {
			rounds, next, err := b.starts(ctx, g, dir, e, cold)
			if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EROFS) {
				t.Foot = append(t.Foot, "cold starts were left out: only root may empty the page cache")
				continue
			}
			if g = next; err != nil {
				return err
			}
			files := map[bool]string{false: "in memory", true: "on the disk"}[cold]
			accepts, ready := medianOf(rounds, func(s startUp) float64 { return s.accepts }), medianOf(rounds, func(s startUp) float64 { return s.ready })
			t.Rows = append(t.Rows, row{[]string{e.name, files}, []float64{accepts, ready}})
			if math.IsNaN(ready) {
				ready = accepts
			}
			b.report.add("start", fmt.Sprintf("%d MB wait, after %s, files %s", size>>20, e.name, files), ready, "ms", e.bar)
			b.say("after %s, files %s: %.0f ms", e.name, files, ready)
		}
	}
	b.report.Tables = append(b.report.Tables, t)
	return g.stop()
}

// starts ends the gateway and starts it again, some times. It returns the one that runs
// now.
func (b *bench) starts(ctx context.Context, g *gateway, dir string, e ending, cold bool) (all []startUp, now *gateway, err error) {
	for range pick(b, 1, 5) {
		if cold {
			if err := dropCaches(); err != nil { // before anything is ended for nothing
				return nil, g, err
			}
		}
		if err := fill(ctx, firmwaresim.FleetConfig{Addr: g.addr, QoS: 1, Topic: jsonTopic, Prefix: "last-"}, 1); err != nil {
			return nil, g, err
		}
		if err := e.by(g, dir); err != nil {
			return nil, g, err
		}
		if cold {
			if err := dropCaches(); err != nil {
				return nil, g, err
			}
		}
		var took startUp
		if g, err = b.startOne(ctx, dir, &took); err != nil {
			return nil, g, err
		}
		all = append(all, took)
	}
	return all, g, nil
}

// startOne starts a gateway, and notes how long that took. With nowhere to note it, it is
// one to be filled.
func (b *bench) startOne(ctx context.Context, dir string, took *startUp) (g *gateway, err error) {
	addr, err := freeAddress()
	if err != nil {
		return nil, err
	}
	ready, path, err := listenReady(dir)
	if err != nil {
		return nil, err
	}
	defer ready.Close()
	text := fmt.Sprintf(asInstalled, filepath.Join(dir, "data"), addr, nowhere) + room
	if took == nil {
		text += forSpeed // it is about to be filled
	}
	if g, err = b.startProgram(ctx, addr, dir, text, "NOTIFY_SOCKET="+path); err != nil {
		return nil, err
	}
	if took == nil {
		return g, nil
	}
	took.accepts = float64(time.Since(g.began).Microseconds()) / 1000
	took.ready, err = readyAfter(ready, g.began)
	return g, err
}

// listenReady is the socket of who supervises the program (sd_notify(3)).
func listenReady(dir string) (*net.UnixConn, string, error) {
	path := filepath.Join(dir, "notify")
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, "", err
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	return conn, path, err
}

// readyPatience is how long after it listens a program may take to say so.
const readyPatience = time.Second

// readyAfter returns the milliseconds until READY=1 came; NaN when the program does not
// say that.
func readyAfter(conn *net.UnixConn, began time.Time) (float64, error) {
	if err := conn.SetReadDeadline(time.Now().Add(readyPatience)); err != nil {
		return 0, err
	}
	for b := make([]byte, 4<<10); ; {
		n, err := conn.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return math.NaN(), nil
		}
		if err != nil {
			return 0, err
		}
		if strings.Contains("\n"+string(b[:n])+"\n", "\nREADY=1\n") {
			return float64(time.Since(began).Microseconds()) / 1000, nil
		}
	}
}

// fillNoise has so many bytes wait.
func (b *bench) fillNoise(ctx context.Context, g *gateway, size int) error {
	c := firmwaresim.NewClient(firmwaresim.ClientConfig{Addr: g.addr, ClientID: "noise"})
	return during(ctx, c.Run, func() error {
		random := rand.NewChaCha8([32]byte{})
		noise := make([]byte, 4000)
		for range size / len(noise) {
			random.Read(noise)
			if err := c.Publish(ctx, firmwaresim.Message{Topic: "raw/noise", Payload: noise, QoS: 1}); err != nil {
				return err
			}
		}
		return c.Drain(ctx)
	})
}

// dropCaches has the kernel forget the files that it keeps in memory. What is not on the
// disk yet is written first.
func dropCaches() error {
	unix.Sync()
	return os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0)
}
