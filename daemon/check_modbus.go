package daemon

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/tidegate/tidegate/ingest/modbusin"
)

// busy is the load from which a serial bus has little time left for retries and
// for slaves that are slow.
const busy = 0.7

// modbus looks at the buses, all at once, because those that are out of reach
// take their time. No slave is asked anything.
func (k *checklist) modbus(ctx context.Context, c Config) {
	parts := k.parts(len(c.Ingest.Modbus))
	var all sync.WaitGroup
	for i, m := range c.Ingest.Modbus {
		all.Go(func() {
			bus := m.bus(c.Modbus.Maps, vocabulary{})
			parts[i].reachBus(ctx, m)
			parts[i].plans(m.Name, bus)
			parts[i].load(m, bus)
		})
	}
	all.Wait()
	for _, part := range parts {
		k.findings = append(k.findings, part.findings...)
	}
}

// reachBus looks whether a bus over TCP is there; serial ports are looked at for
// all doors. One that is not is no failure: the gateway tries again for ever.
func (k *checklist) reachBus(ctx context.Context, m Modbus) {
	kind, address, err := modbusin.ParseURL(m.URL)
	if err != nil || kind == modbusin.RTU || k.offline {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		k.warn("check address, port and cable; it is tried again for ever", "modbus %s: %s is out of reach: %v", m.Name, address, err)
		return
	}
	conn.Close()
	k.ok("modbus %s: %s answers", m.Name, address)
}

// plans tells what will be asked.
func (k *checklist) plans(name string, bus modbusin.Config) {
	type sum struct{ slaves, requests, registers int }
	sums := make(map[time.Duration]sum)
	var order []time.Duration
	for _, s := range bus.Slaves {
		for _, p := range s.Plans() {
			n, seen := sums[p.Every]
			if !seen {
				order = append(order, p.Every)
			}
			sums[p.Every] = sum{n.slaves + 1, n.requests + p.Requests, n.registers + p.Registers}
		}
	}
	for _, every := range order {
		n := sums[every]
		k.ok("modbus %s: every %v, %s for %s of %s", name, every,
			counted(n.requests, "request"), counted(n.registers, "register"), counted(n.slaves, "slave"))
	}
}

func counted[N int | uint64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// load tells how busy a serial line will be.
func (k *checklist) load(m Modbus, bus modbusin.Config) {
	l, known := bus.Load()
	switch {
	case !known:
	case l.Expected > 1:
		k.warn("raise intervals or the speed; polls that find no time are left out",
			"modbus %s: at %d baud the polls take %.0f %% of the time, with 10 ms for each slave to answer", m.Name, m.Baud, 100*l.Expected)
	case l.Expected > busy:
		k.warn("raise intervals or the speed, so that there is time for retries",
			"modbus %s: the line will be busy %.0f %% of the time", m.Name, 100*l.Expected)
	default:
		k.ok("modbus %s: the line will be busy %.1f %% of the time at %d baud", m.Name, 100*l.Expected, m.Baud)
	}
}
