package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// doorway is a door under load: its part of the configuration, and who comes
// through it.
type doorway struct {
	name string
	// door is what status calls it.
	door string
	// configure returns the tables of the door, and load what comes through it
	// until ctx ends. dir is a folder of their own.
	configure func(addr, dir string) string
	load      func(ctx context.Context, addr, dir string) error
}

func doorways() []doorway {
	return []doorway{
		{"MQTT, 100 clients x 100 in flight", "mqtt", nothingMore, func(ctx context.Context, addr, _ string) error {
			fleet, err := firmwaresim.NewFleet(crowd(addr), nil)
			if err != nil {
				return err
			}
			return runLoad(ctx, fleet)
		}},
		{"HTTP, a payload a request, 32 connections", "http", httpDoor, sends("http://%s", firmwaresim.SenderConfig{Devices: 32})},
		{"HTTP, 100 payloads a request, 8 connections", "http", httpDoor, postBatches},
		{"CoAP, CON, 32 devices x 4", "coap", coapDoor, sends("coap://%s", firmwaresim.SenderConfig{Devices: 32, Window: 4})},
		{"lines over TCP, 8 connections x 100, replied", "line:bench", lineDoor("tcp", `reply = 'OK\n'`), sends("tcp://%s", firmwaresim.SenderConfig{Devices: 8, Window: 100, Reply: "OK\n", Named: true})},
		{"lines over TCP, 8 connections, no reply", "line:bench", lineDoor("tcp", ""), sends("tcp://%s", firmwaresim.SenderConfig{Devices: 8, Named: true})},
		{"lines over UDP, 8 devices, no reply", "line:bench", lineDoor("udp", ""), sends("udp://%s", firmwaresim.SenderConfig{Devices: 8, Named: true, Rate: 2000})},
		{"serial, JSON lines at 921,600 baud", "serial:bench", serialDoor, serialLine},
		{"Modbus TCP, 10 slaves of 9 registers", "modbus:bench", modbusDoor, modbusBus},
	}
}

// runner is a load.
type runner interface{ Run(context.Context) error }

func runLoad(ctx context.Context, r runner) error {
	if err := r.Run(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// doors measures what each door takes in with the link down, and at what cost,
// beside the broker in the same round.
func (b *bench) doors(ctx context.Context) error {
	all := doorways()
	rounds := make([][]passed, len(all))
	for range pick(b, 1, 3) {
		for i, w := range all {
			p, err := b.through(ctx, w)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			rounds[i] = append(rounds[i], p)
			b.say("%-48s %9.0f readings/s, %.2f CPU s per million", w.name, p.rate, p.cost)
		}
	}
	t := table{Cell: "doors", Columns: []string{"door", "readings/s", "CPU s per million readings"}}
	for i, w := range all {
		var ratios []float64
		for n, p := range rounds[i] {
			ratios = append(ratios, p.cost/rounds[0][n].cost)
		}
		t.Rows = append(t.Rows, row{[]string{w.name}, []float64{
			medianOf(rounds[i], func(p passed) float64 { return p.rate }), medianOf(rounds[i], func(p passed) float64 { return p.cost }),
		}})
		if i > 0 {
			b.report.add("doors", "CPU for a reading, "+w.name+" / MQTT", median(ratios), "x", noBar())
		}
	}
	b.report.Tables = append(b.report.Tables, t)
	return nil
}

// passed is what came through a door: readings a second, and seconds of the
// gateway's CPU for a million of them.
type passed struct{ rate, cost float64 }

func (b *bench) through(ctx context.Context, w doorway) (p passed, err error) {
	dir, remove, err := b.folder("door")
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, remove()) }()
	broker, addr, err := twoAddresses()
	if err != nil {
		return p, err
	}
	if w.door == "mqtt" {
		addr = broker
	}
	is := ordinary
	is.more = w.configure(addr, dir)
	g, err := b.startGatewayAt(ctx, broker, dir, forSpeed, nowhere, is)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, g.stop()) }()
	load := func(ctx context.Context) error { return w.load(ctx, addr, dir) }
	err = during(ctx, load, func() error {
		if err := let(ctx, time.Second); err != nil { // until connections are there
			return err
		}
		p, err = g.measureDoor(ctx, w.door, pick(b, 2*time.Second, 6*time.Second))
		return err
	})
	return p, err
}

// measureDoor counts what a door takes in for a while.
func (g *gateway) measureDoor(ctx context.Context, door string, d time.Duration) (p passed, err error) {
	before, err := g.taken(ctx, door)
	if err != nil {
		return p, err
	}
	worked, err := g.cpu()
	if err != nil {
		return p, err
	}
	began := time.Now()
	if err := let(ctx, d); err != nil {
		return p, err
	}
	after, err := g.taken(ctx, door)
	if err != nil {
		return p, err
	}
	took := time.Since(began)
	now, err := g.cpu()
	if n := float64(after - before); n > 0 {
		return passed{rate: n / took.Seconds(), cost: (now - worked).Seconds() / n * 1e6}, err
	}
	return p, errors.Join(err, errors.New("nothing came through"))
}

// taken is how many readings a door has taken so far.
func (g *gateway) taken(ctx context.Context, door string) (uint64, error) {
	s, err := g.status(ctx)
	if err != nil {
		return 0, err
	}
	for _, d := range s.Doors {
		if d.Name == door {
			return d.Readings, nil
		}
	}
	return 0, fmt.Errorf("status knows no door %q", door)
}

func twoAddresses() (a, b string, err error) {
	if a, err = freeAddress(); err == nil {
		b, err = freeAddress()
	}
	return a, b, err
}

func nothingMore(string, string) string { return "" }

func httpDoor(addr, _ string) string { return fmt.Sprintf("[ingest.http]\nlisten = %q\n", addr) }

func coapDoor(addr, _ string) string {
	return fmt.Sprintf("[ingest.coap]\nlisten = %q\nmax_rate = 0\n", addr)
}

func lineDoor(transport, more string) func(addr, dir string) string {
	return func(addr, _ string) string {
		return fmt.Sprintf("[[ingest.line]]\nname = \"bench\"\ntransport = %q\nlisten = %q\n%s\n", transport, addr, more)
	}
}

func serialDoor(_, dir string) string {
	return fmt.Sprintf("[[ingest.serial]]\nname = \"bench\"\nport = %q\nbaud = 921600\n", filepath.Join(dir, "tty"))
}

func serialLine(ctx context.Context, _, dir string) error {
	device, err := firmwaresim.OpenSerialDevice(firmwaresim.SerialConfig{Link: filepath.Join(dir, "tty"), Baud: 921_600}, nil)
	if err != nil {
		return err
	}
	return runLoad(ctx, device)
}

// sends returns a load of simulated devices; url has a place for the address.
func sends(url string, cfg firmwaresim.SenderConfig) func(ctx context.Context, addr, dir string) error {
	return func(ctx context.Context, addr, _ string) error {
		cfg.URL = fmt.Sprintf(url, addr)
		sender, err := firmwaresim.NewSender(cfg, nil)
		if err != nil {
			return err
		}
		return runLoad(ctx, sender)
	}
}

// modbusDoor polls ten slaves as fast as they answer: nine registers of each make
// seven readings.
func modbusDoor(addr, _ string) string {
	var text strings.Builder
	text.WriteString("[[modbus.map]]\nname = \"bench\"\n")
	for _, r := range []struct{ metric, kind, more string }{
		{"seq", "u32", "address = 0"}, {"temp", "i16", "address = 2\nscale = 0.01"}, {"hum", "u16", "address = 3\nscale = 0.1"},
		{"bat", "u16", "address = 4\nscale = 0.01"}, {"rssi", "i16", "address = 5"}, {"temp32", "f32", "address = 6"}, {"lux", "u16", "address = 15"},
	} {
		fmt.Fprintf(&text, "[[modbus.map.register]]\nmetric = %q\ntype = %q\n%s\n", r.metric, r.kind, r.more)
	}
	fmt.Fprintf(&text, "[[ingest.modbus]]\nname = \"bench\"\nurl = \"tcp://%s\"\n", addr)
	for unit := range 10 {
		fmt.Fprintf(&text, "[[ingest.modbus.slave]]\nunit = %d\ndevice = \"slave-%d\"\nmap = \"bench\"\ninterval = \"10ms\"\n", unit+1, unit+1)
	}
	return text.String()
}

func modbusBus(ctx context.Context, addr, _ string) error {
	slaves, err := firmwaresim.OpenModbusSlaves(firmwaresim.ModbusConfig{Listen: addr, Units: 10}, nil)
	if err != nil {
		return err
	}
	return runLoad(ctx, slaves)
}

// postBatches sends a hundred payloads a request, over eight connections.
func postBatches(ctx context.Context, addr, _ string) error {
	const connections = 8
	failures := make([]error, connections)
	var all sync.WaitGroup
	for n := range connections {
		all.Go(func() { failures[n] = postDevice(ctx, addr, n) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return errors.Join(failures...)
}

func postDevice(ctx context.Context, addr string, n int) error {
	const payloads = 100
	device := firmwaresim.NewDevice(1, n, firmwaresim.JSON4, false)
	client := http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	url := fmt.Sprintf("http://%s/v1/readings/site/sim/dev/batch-%d/telemetry", addr, n)
	var body []byte
	for ctx.Err() == nil {
		body = body[:0]
		for range payloads {
			body = append(device.Append(body, time.Now()), '\n')
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		if err = errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusCreated {
			return errors.Join(err, fmt.Errorf("answered with %s", resp.Status))
		}
	}
	return nil
}
