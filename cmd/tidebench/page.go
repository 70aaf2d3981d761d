package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// maxViewers is how many pages a gateway shows itself to.
const maxViewers = 32

// page looks at what viewers cost.
func (b *bench) page(ctx context.Context) error {
	return errors.Join(b.pageAtRest(ctx), b.pageUnderLoad(ctx), b.pageStuck(ctx))
}

// withPage runs f beside a gateway whose page is at an address.
func (b *bench) withPage(ctx context.Context, f func(g *gateway, page string) error) (err error) {
	dir, remove, err := b.folder("page")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	addr, err := freeAddress()
	if err != nil {
		return err
	}
	is := ordinary
	if is.page, err = freeAddress(); err != nil {
		return err
	}
	g, err := b.startGatewayAt(ctx, addr, dir, asConfigured, nowhere, is)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	return f(g, is.page)
}

// pageAtRest looks at a gateway that has nothing to do but to show that.
func (b *bench) pageAtRest(ctx context.Context) error {
	span := pick(b, 5*time.Second, 30*time.Second)
	return b.withPage(ctx, func(g *gateway, page string) error {
		if err := let(ctx, calm); err != nil {
			return err
		}
		alone, err := g.cpuDuring(func() error { return let(ctx, span) })
		if err != nil {
			return err
		}
		v := &viewers{page: page}
		var watched time.Duration
		err = during(ctx, v.watch(1), func() error {
			watched, err = g.cpuDuring(func() error { return let(ctx, span) })
			return err
		})
		if err = errors.Join(err, v.all(1)); err != nil {
			return err
		}
		const times = 200
		asking, err := g.cpuDuring(func() error {
			for range times {
				if _, err := g.status(ctx); err != nil {
					return err
				}
			}
			return nil
		})
		share := func(used time.Duration) float64 { return 100 * used.Seconds() / span.Seconds() }
		b.report.add("page", "idle, nobody watches: processor", share(alone), "% of a core", noBar())
		b.report.add("page", "idle, one viewer: processor", share(watched), "% of a core", most(1))
		b.report.add("page", "the state of the gateway, asked for once: processor", milliseconds(asking)/times, "ms", noBar())
		return err
	})
}

// cpuDuring is the CPU time that the gateway uses while f runs.
func (c *child) cpuDuring(f func() error) (time.Duration, error) {
	before, err := c.cpu()
	if err == nil {
		err = f()
	}
	after, failed := c.cpu()
	return after - before, errors.Join(err, failed)
}

// pageUnderLoad has the same load with and without viewers, in turn.
func (b *bench) pageUnderLoad(ctx context.Context) error {
	loads := []struct {
		name  string
		fleet func(addr string) firmwaresim.FleetConfig
		bar   bar
	}{
		{"10,000 readings/s", paced(100, 25), least(0.95)},
		{"as many as go", crowd, noBar()},
	}
	t := table{Cell: "page", Columns: []string{"load", "viewers", "readings/s", "CPU s/100k messages", "ack p50 ms", "ack p99 ms", "frames/s each"}}
	for _, load := range loads {
		rounds := map[int][]rate{}
		var frames []float64
		err := b.withPage(ctx, func(g *gateway, page string) error {
			for round := range pick(b, 1, 5) {
				for turn := range 2 {
					n := (turn + round) % 2 * maxViewers // each begins with the other one
					r, shown, err := b.loaded(ctx, g, page, load.fleet(g.addr), n)
					if err != nil {
						return err
					}
					rounds[n] = append(rounds[n], r)
					if n > 0 {
						frames = append(frames, shown)
					}
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s: %w", load.name, err)
		}
		for _, n := range []int{0, maxViewers} {
			r, shown := rounds[n], 0.0
			if n > 0 {
				shown = median(frames)
			}
			t.Rows = append(t.Rows, row{[]string{load.name, strconv.Itoa(n)}, []float64{
				metrics * medianOf(r, func(r rate) float64 { return r.perSecond }),
				medianOf(r, func(r rate) float64 { return r.cpu }),
				medianOf(r, func(r rate) float64 { return milliseconds(r.p50) }),
				medianOf(r, func(r rate) float64 { return milliseconds(r.p99) }), shown,
			}})
		}
		b.report.add("page", load.name+": 32 viewers / none", ratio(rounds[maxViewers], rounds[0]), "x", load.bar)
	}
	b.report.Tables = append(b.report.Tables, t)
	return nil
}

// loaded is what comes in while so many watch, and how many frames a second each of
// them gets.
func (b *bench) loaded(ctx context.Context, g *gateway, page string, fleet firmwaresim.FleetConfig, n int) (r rate, shown float64, err error) {
	span := pick(b, 2*time.Second, 5*time.Second)
	v := &viewers{page: page}
	err = during(ctx, v.watch(n), func() error {
		began := time.Now()
		r, err = watchLoad(ctx, g.child, fleet, span)
		shown = float64(v.frames.Load()) / max(1, float64(n)) / time.Since(began).Seconds()
		return err
	})
	b.say("%d viewers: %.0f readings/s, %.1f frames/s each", n, metrics*r.perSecond, shown)
	return r, shown, errors.Join(err, v.all(n))
}

// viewers watch a page and throw away what they see.
type viewers struct {
	page           string
	look           func(frame []byte) // nil to look away
	frames, joined atomic.Int64
}

func (v *viewers) watch(n int) func(context.Context) error {
	return func(ctx context.Context) error {
		failed := make([]error, n)
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() { failed[i] = v.one(ctx) })
		}
		all.Wait()
		return errors.Join(failed...)
	}
}

func (v *viewers) one(ctx context.Context) error {
	conn, _, err := websocket.Dial(ctx, "ws://"+v.page+"/live", nil)
	if err != nil {
		return fmt.Errorf("viewer: %w", err)
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	for first := true; ; first = false {
		_, r, err := conn.Reader(ctx)
		var frame []byte
		switch {
		case err != nil:
		case v.look == nil:
			_, err = io.Copy(io.Discard, r)
		default:
			frame, err = io.ReadAll(r)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("viewer: %w", err)
		}
		v.frames.Add(1)
		if v.look != nil {
			v.look(frame)
		}
		if first {
			v.joined.Add(1)
		}
	}
}

// all makes sure that they have seen something.
func (v *viewers) all(n int) error {
	if got := v.joined.Load(); got != int64(n) {
		return fmt.Errorf("%d of %d viewers have seen something", got, n)
	}
	return nil
}

// pageStuck has pages open whose sockets nobody reads, and looks at the most memory
// that the gateway takes until it hangs up.
func (b *bench) pageStuck(ctx context.Context) error {
	const stuck = maxViewers - 1
	return b.withPage(ctx, func(g *gateway, page string) error {
		fleet, err := firmwaresim.NewFleet(paced(100, 25)(g.addr), nil)
		if err != nil {
			return err
		}
		return during(ctx, fleet.Run, func() error {
			v := &viewers{page: page}
			return during(ctx, v.watch(1), func() error { // one who reads, before and meanwhile
				before, _, err := g.most(ctx, page, pick(b, 3*time.Second, 20*time.Second))
				if err != nil {
					return err
				}
				for range stuck {
					conn, err := joinPage(page)
					if err != nil {
						return err
					}
					defer conn.Close()
				}
				after, queued, err := g.most(ctx, page, 6*time.Second)
				b.report.add("page", "a viewer who does not read: memory", (after-before)*1024/stuck, "KiB", most(1024))
				b.report.add("page", "and what waits in the kernel for him", queued/1024/stuck, "KiB", noBar())
				return err
			})
		})
	})
}

// joinPage opens a WebSocket.
func joinPage(page string) (net.Conn, error) {
	conn, err := net.Dial("tcp", page)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(conn, "GET /live HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n", page)
	if err == nil {
		var resp *http.Response
		resp, err = http.ReadResponse(bufio.NewReader(conn), nil)
		if err == nil && resp.StatusCode != http.StatusSwitchingProtocols {
			err = errors.New("viewer: " + resp.Status)
		}
	}
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// most is the most memory, in MiB, that the gateway takes for a while, and the most
// bytes that wait in the kernel for the viewers of its page.
func (g *gateway) most(ctx context.Context, page string, span time.Duration) (memory, queued float64, err error) {
	for end := time.Now().Add(span); time.Now().Before(end); {
		now, err := g.memoryAfter(ctx, 100*time.Millisecond)
		if err != nil {
			return 0, 0, err
		}
		table, err := os.ReadFile("/proc/net/tcp")
		if err != nil {
			return 0, 0, err
		}
		memory, queued = max(memory, now), max(queued, float64(waitingFrom(string(table), page)))
	}
	return memory, queued, nil
}

// waitingFrom is how many bytes the connections of an address have sent that have
// not arrived, of /proc/net/tcp.
func waitingFrom(table, addr string) (bytes uint64) {
	_, port, _ := strings.Cut(addr, ":")
	n, _ := strconv.ParseUint(port, 10, 16)
	suffix := fmt.Sprintf(":%04X", n)
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasSuffix(fields[1], suffix) {
			continue
		}
		queue, _, _ := strings.Cut(fields[4], ":")
		waiting, _ := strconv.ParseUint(queue, 16, 64)
		bytes += waiting
	}
	return bytes
}
