package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// seen is what browsertest/pixel.mjs has found out, in milliseconds.
type seen struct {
	// Shown is from a publish to the first display frame after the value was drawn.
	Shown []float64 `json:"shown"`
	// First is from the start of a navigation to the first value, the first time
	// without anything in the browser's cache.
	First []float64 `json:"first"`
}

// probeDevice is the device that tells when it published, in milliseconds of the day.
const probeDevice = "a-probe"

// screen measures in a real browser, beside a thousand readings a second.
func (b *bench) screen(ctx context.Context) error {
	const folder = "dashboard/browsertest"
	const install = "apt-get install chromium nodejs npm && npm install --prefix " + folder
	chromium, err := exec.LookPath("chromium")
	if _, missing := os.Stat(folder + "/node_modules/playwright-core"); err != nil || missing != nil {
		b.say("no browser, so nothing of the screen; hint: in the project's folder, %s", install)
		return nil
	}
	return b.withPage(ctx, func(g *gateway, page string) error {
		fleet, err := firmwaresim.NewFleet(paced(100, 2.5)(g.addr), nil)
		if err != nil {
			return err
		}
		probe := firmwaresim.NewClient(firmwaresim.ClientConfig{Addr: g.addr, ClientID: probeDevice})
		return during(ctx, fleet.Run, func() error {
			return during(ctx, probe.Run, func() error {
				return during(ctx, func(ctx context.Context) error { return tellTime(ctx, probe) }, func() error {
					return b.screens(ctx, folder, page, chromium)
				})
			})
		})
	})
}

// screens measures in a browser as quick as this machine, with a viewer beside it
// that draws nothing, and in a slow one.
func (b *bench) screens(ctx context.Context, folder, page, chromium string) error {
	var arrived []time.Duration
	v := &viewers{page: page, look: func(frame []byte) {
		if sent, ok := sentIn(frame); ok {
			arrived = append(arrived, (sinceMidnight()-sent+day)%day)
		}
	}}
	err := during(ctx, v.watch(1), func() error { return b.pixelsOf(ctx, folder, page, chromium, 1) })
	b.report.add("screen", "publish to a viewer's socket, p50", milliseconds(quantile(arrived, 0.50)), "ms", noBar())
	b.report.add("screen", "publish to a viewer's socket, p99", milliseconds(quantile(arrived, 0.99)), "ms", noBar())
	if err != nil {
		return err
	}
	return b.pixelsOf(ctx, folder, page, chromium, 4)
}

const day = 24 * time.Hour

// sinceMidnight is the time of the day, of UTC, in whole milliseconds.
func sinceMidnight() time.Duration {
	return time.Duration(time.Now().UnixMilli()) * time.Millisecond % day
}

// sentIn is when the probe has published what a frame tells of it.
func sentIn(frame []byte) (time.Duration, bool) {
	if !bytes.Contains(frame, []byte(probeDevice)) {
		return 0, false
	}
	var f struct {
		From    uint64
		Devices []struct {
			Name    string
			Metrics []struct{ Value float64 }
		}
	}
	if json.Unmarshal(frame, &f) != nil || f.From == 0 { // what was there before is not new
		return 0, false
	}
	for _, d := range f.Devices {
		if d.Name == probeDevice && len(d.Metrics) == 1 {
			return time.Duration(d.Metrics[0].Value) * time.Millisecond, true
		}
	}
	return 0, false
}

// pixelsOf measures in a browser that is slower than this machine by a factor, as a
// phone is.
func (b *bench) pixelsOf(ctx context.Context, folder, page, chromium string, slower int) error {
	cmd := exec.CommandContext(ctx, "node", "pixel.mjs", "http://"+page, chromium,
		fmt.Sprint(pick(b, 5, 60)), fmt.Sprint(pick(b, 3, 20)), fmt.Sprint(slower))
	cmd.Dir, cmd.Stderr = folder, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("pixel.mjs: %w", err)
	}
	var s seen
	if err := json.Unmarshal(out, &s); err != nil {
		return err
	}
	if len(s.Shown) == 0 || len(s.First) < 2 {
		return errors.New("nothing was seen on the screen")
	}
	within, first, what := most(100), most(300), ""
	if slower > 1 {
		within, first, what = noBar(), noBar(), fmt.Sprintf(", the browser's processor %d times slower", slower)
	}
	b.say("%d values were seen on the screen%s", len(s.Shown), what)
	b.report.add("screen", "publish to screen, p50"+what, share(s.Shown, 0.50), "ms", noBar())
	b.report.add("screen", "publish to screen, p99"+what, share(s.Shown, 0.99), "ms", within)
	b.report.add("screen", "navigation to the first value, nothing cached"+what, s.First[0], "ms", first)
	b.report.add("screen", "navigation to the first value, p50"+what, share(s.First[1:], 0.50), "ms", first)
	b.report.add("screen", "navigation to the first value, worst"+what, share(s.First[1:], 1), "ms", noBar())
	return nil
}

// share is the value that the given share of values does not exceed.
func share(values []float64, part float64) float64 {
	all := make([]time.Duration, len(values))
	for i, v := range values {
		all[i] = time.Duration(v * float64(time.Millisecond))
	}
	return milliseconds(quantile(all, part))
}

// tellTime publishes the time about ten times a second, out of step with anything.
func tellTime(ctx context.Context, c *firmwaresim.Client) error {
	for {
		payload := fmt.Appendf(nil, `{"sent":%d}`, sinceMidnight().Milliseconds())
		if err := c.Publish(ctx, firmwaresim.Message{Topic: "site/sim/dev/" + probeDevice + "/telemetry", Payload: payload, QoS: 1}); err != nil {
			return err
		}
		c.Flush()
		if err := let(ctx, 70*time.Millisecond+rand.N(60*time.Millisecond)); err != nil {
			return err
		}
	}
}
