package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// recycling keeps the journal so small that it soon writes into old segments.
const recycling = `max_bytes = "32MiB"` + "\n"

// wear is a load on the disk.
type wear struct {
	name, buffer string
	devices      int
	rate         float64 // messages a second and device
	fresh        bool    // into segments that were never written before
	bar          bar     // bytes for a reading
}

func wears() []wear {
	var all []wear
	for _, p := range []struct {
		name, buffer string
		bar          bar
	}{
		{"gentle, commit_interval 1s", "profile = \"gentle\"\ncommit_interval = \"1s\"", most(5)},
		{"commit_interval 20ms", "profile = \"speed\"\ncommit_interval = \"20ms\"", most(65)},
		{"balanced, budget spent", `flash_budget = "16MiB"`, noBar()},
	} {
		all = append(all,
			wear{p.name, p.buffer, 100, 10, false, p.bar},
			wear{p.name, p.buffer, 1000, 1, false, p.bar},
		)
	}
	return append(all, wear{"commit_interval 20ms", "profile = \"speed\"\ncommit_interval = \"20ms\"", 100, 10, true, noBar()})
}

// worn is what a load wrote.
type worn struct {
	messages, commits uint64
	bytes             int64 // at the device
	late              int64 // what a sync at the end added
}

// disk measures what reaches the disk for a reading, metadata and all.
func (b *bench) disk(ctx context.Context) (err error) {
	d, err := b.openDisk(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	used := filepath.Join(d.dir, "used")
	if err := b.fillSegments(ctx, used); err != nil {
		return fmt.Errorf("fill the journal: %w", err)
	}
	t := table{Cell: "disk", Columns: []string{"settings", "fleet", "segments", "B/reading", "B/commit", "commits/s", "late kB"}}
	span := pick(b, 4*time.Second, 20*time.Second)
	for _, w := range wears() {
		dir, segments := used, "recycled"
		if w.fresh {
			dir, segments = filepath.Join(d.dir, "fresh"), "new"
		}
		got, err := b.wearDown(ctx, d, dir, w, span)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		perReading := float64(got.bytes) / float64(max(got.messages, 1)*metrics)
		fleet := fmt.Sprintf("%d x %g/s", w.devices, w.rate)
		t.Rows = append(t.Rows, row{[]string{w.name, fleet, segments}, []float64{
			perReading, got.perCommit(), float64(got.commits) / span.Seconds(), float64(got.late) / 1000,
		}})
		if w.bar.Is != "" {
			b.report.add("disk", fmt.Sprintf("%s, %s%s", w.name, fleet, d.caveat), perReading, "B/reading", w.bar)
		}
		b.say("%s, %s: %.1f B/reading", w.name, fleet, perReading)
	}
	lone, err := b.wearDown(ctx, d, used, wear{buffer: forSpeed, devices: 1, rate: 10}, span)
	if err != nil {
		return err
	}
	b.report.Tables = append(b.report.Tables, t)
	b.report.add("disk", "a lone message each 100 ms"+d.caveat, lone.perCommit(), "B/commit", most(4500))
	return nil
}

func (w worn) perCommit() float64 { return float64(w.bytes) / float64(max(w.commits, 1)) }

// settled is how long a load runs before it counts: until budgets are spent.
const settled = 3 * time.Second

// wearDown puts the load on a gateway that writes into dir.
func (b *bench) wearDown(ctx context.Context, d *disk, dir string, w wear, span time.Duration) (got worn, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return got, err
	}
	g, err := b.startGateway(ctx, dir, recycling+w.buffer, nowhere)
	if err != nil {
		return got, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	fleet, err := firmwaresim.NewFleet(paced(w.devices, w.rate)(g.addr), nil)
	if err != nil {
		return got, err
	}
	err = during(ctx, fleet.Run, func() error {
		if err := errors.Join(let(ctx, settled), d.sync(ctx)); err != nil {
			return err
		}
		before, err := d.look(ctx, g, fleet)
		if err != nil {
			return err
		}
		if err := let(ctx, span); err != nil {
			return err
		}
		after, err := d.look(ctx, g, fleet)
		if err != nil {
			return err
		}
		if err := d.sync(ctx); err != nil {
			return err
		}
		end, err := d.written()
		got = worn{after.messages - before.messages, after.commits - before.commits, after.bytes - before.bytes, end - after.bytes}
		return err
	})
	return got, err
}

// look reads all counters at once.
func (d *disk) look(ctx context.Context, g *gateway, fleet *firmwaresim.Fleet) (worn, error) {
	s, err := g.status(ctx)
	if err != nil {
		return worn{}, err
	}
	bytes, err := d.written()
	return worn{messages: fleet.Stats().Acked, commits: s.Buffer.Commits, bytes: bytes}, err
}

// fillSegments writes more noise than the journal holds, so that every segment
// has been written before.
func (b *bench) fillSegments(ctx context.Context, dir string) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	g, err := b.startGateway(ctx, dir, recycling+forSpeed, nowhere)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	c := firmwaresim.NewClient(firmwaresim.ClientConfig{Addr: g.addr, ClientID: "noise"})
	return during(ctx, c.Run, func() error {
		random := rand.NewChaCha8([32]byte{})
		noise := make([]byte, 100<<10)
		for range (48 << 20) / len(noise) {
			random.Read(noise)
			m := firmwaresim.Message{Topic: "raw/noise", Payload: noise, QoS: 1}
			if err := c.Publish(ctx, m); err != nil {
				return err
			}
		}
		return c.Drain(ctx)
	})
}
