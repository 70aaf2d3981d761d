package daemon

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/netcheck"
)

const (
	// lookTime is how long a door is watched for readings.
	lookTime = 3 * time.Second
	// knockTime bounds a connection to a door of our own.
	knockTime = 3 * time.Second
)

// inspection finds out why nothing comes in by a door.
type inspection struct {
	*netcheck.Report
	d    *Daemon
	g    *generation
	door *door
	look time.Duration
	was  dashboard.Door // before it was watched
	now  dashboard.Door
}

// DiagnoseDoor implements api.Doctor.
func (d doctor) DiagnoseDoor(ctx context.Context, name string, tell func(netcheck.Line)) error {
	x, err := d.inspection(name, lookTime, tell)
	if err != nil {
		return err
	}
	leave, err := d.enter()
	if err != nil {
		return err
	}
	defer leave()
	return x.run(ctx)
}

// inspection prepares that of a door.
func (d *Daemon) inspection(name string, look time.Duration, tell func(netcheck.Line)) (*inspection, error) {
	g := d.current()
	door := g.door(name)
	if door == nil {
		return nil, api.NotFound(fmt.Errorf("there is no door %q here — hint: \"tidegate status\" lists them", name))
	}
	was := g.doorNamed(name)
	return &inspection{Report: netcheck.NewReport(netcheck.DoorQuestions(was.Kind), tell), d: d, g: g, door: door, look: look, was: was}, nil
}

// doorNamed is the status of one door; there must be one of that name.
func (g *generation) doorNamed(name string) dashboard.Door {
	all := g.doorStatus()
	return all[slices.IndexFunc(all, func(s dashboard.Door) bool { return s.Name == name })]
}

// run looks at everything that counts, and watches the door meanwhile.
func (x *inspection) run(ctx context.Context) error {
	x.now = x.was
	x.opened()
	if !x.Failed() {
		x.knock(ctx)
	}
	if !x.Failed() {
		x.counted()
		x.Begin(netcheck.Come)
		select {
		case <-time.After(x.look):
		case <-ctx.Done():
			return ctx.Err()
		}
		x.now = x.g.doorNamed(x.door.name)
		x.counted() // which may be more now
		x.comes()
	}
	x.Conclude(x.verdict())
	return nil
}

// counted looks at what the door counts.
func (x *inspection) counted() {
	x.peers()
	x.refusals()
	x.decoded()
	x.kept()
}

// opened asks whether the door is open at all.
func (x *inspection) opened() {
	x.Begin(netcheck.Open)
	d := x.now
	switch {
	case d.State == dashboard.OK, d.State == nobodyAnswers:
		x.End(netcheck.Open, netcheck.Fine("%s is open", d.Address))
	case d.Line != nil && d.Line.Trouble != "":
		x.troubled(d.Line.Trouble)
	default:
		if last, ok := x.d.lastWarning(d.Name); ok {
			x.troubled(d.State + "; " + worded(last))
			return
		}
		x.troubled(d.State)
	}
}

func (x *inspection) troubled(why string) {
	what, hint, _ := strings.Cut(why, " — hint: ")
	if hint == "" {
		hint = `"tidegate check" looks closer`
	}
	x.End(netcheck.Open, netcheck.Wrong(hint, "%s: %s", cmp.Or(x.now.Address, x.now.Name), what))
}

// knock connects to a door that listens, as somebody on this machine would.
func (x *inspection) knock(ctx context.Context) {
	source, listens := x.door.source.(interface {
		Addr(context.Context) net.Addr
	})
	if !listens || !slices.Contains([]string{"mqtt", "http", "coap", "line"}, x.now.Kind) {
		return
	}
	x.Begin(netcheck.Knock)
	waiting, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	addr := source.Addr(waiting)
	if d, ok := x.door.source.(interface{ Address() (string, bool) }); ok {
		if _, dialled := d.Address(); dialled {
			x.End(netcheck.Knock, netcheck.Fine("the gateway connects itself, to %s", x.now.Address))
			x.End(netcheck.Others, netcheck.Fine("nobody has to: the gateway connects itself"))
			return
		}
	}
	if addr == nil {
		return
	}
	x.End(netcheck.Knock, knockAt(ctx, addr, x.now.Kind == "coap" && x.g.cfg.Ingest.CoAP.Listen != ""))
	x.End(netcheck.Others, x.reachable(addr))
}

// knockAt connects, or asks a server of CoAP for a sign of life.
func knockAt(ctx context.Context, addr net.Addr, coap bool) netcheck.Finding {
	const odd = "does a firewall of this machine forbid it? See \"nft list ruleset\""
	ctx, cancel := context.WithTimeout(ctx, knockTime)
	defer cancel()
	c, err := new(net.Dialer).DialContext(ctx, addr.Network(), here(addr))
	if err != nil {
		return netcheck.Wrong(odd, "it listens at %s, and this machine itself cannot connect: %v", addr, err)
	}
	defer c.Close()
	if addr.Network() != "udp" {
		return netcheck.Fine("%s answers this machine", addr)
	}
	if !coap {
		return netcheck.Fine("%s is UDP without answers: it cannot be tried from here", addr)
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline) // without one it ends with the answer
	}
	id := rand.N[uint16](1 << 15)
	ping := []byte{0x40, 0, byte(id >> 8), byte(id)} // RFC 7252, 4.3: an empty confirmable message
	answer := make([]byte, 16)
	_, err = c.Write(ping)
	n := 0
	if err == nil {
		n, err = c.Read(answer)
	}
	if err != nil || !bytes.Equal(answer[:n], []byte{0x70, 0, ping[2], ping[3]}) {
		return netcheck.Wrong(odd, "it listens at %s, and does not answer this machine", addr)
	}
	return netcheck.Fine("%s answers this machine", addr)
}

// here is where a listener is reached from this machine.
func here(addr net.Addr) string {
	at, err := netip.ParseAddrPort(addr.String())
	if err != nil || !at.Addr().IsUnspecified() {
		return addr.String()
	}
	if at.Addr().Is4() {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), at.Port()).String()
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), at.Port()).String()
}

// reachable asks whether other machines can reach the listener, and its certificate
// is one that they take.
func (x *inspection) reachable(addr net.Addr) netcheck.Finding {
	k := &checklist{}
	switch m, h := x.g.cfg.Ingest.MQTT, x.g.cfg.Ingest.HTTP; {
	case x.now.Kind == "mqtt" && m.TLSCert != "":
		k.shows(certificate{where: "its TLS", files: m.tlsFiles()}, time.Now())
	case x.now.Kind == "http" && h.TLSCert != "":
		k.shows(certificate{where: "its TLS", files: h.tlsFiles()}, time.Now())
	}
	for _, f := range k.findings {
		if f.Level == Fail || f.Level == Warn && strings.Contains(f.What, "certificate") {
			return netcheck.Weak(f.Hint, "%s", f.What)
		}
	}
	f := netcheck.OfListener(addr.String())
	if _, port, err := net.SplitHostPort(addr.String()); err == nil && f.State == netcheck.OK {
		if own := ownAddresses(); len(own) > 0 {
			f.Text += ", for example at " + net.JoinHostPort(own[0], port)
		}
	}
	return f
}

// ownAddresses are those by which other machines know this one.
func ownAddresses() (all []string) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			all = append(all, p.Addr().String())
		}
	}
	return all
}

// comes asks whether readings come while the door is watched.
func (x *inspection) comes() {
	n := x.now.Readings - x.was.Readings
	switch {
	case n > 0:
		x.End(netcheck.Come, netcheck.Fine("%s came within %v", count(n, "reading"), x.look))
	case x.now.Readings > 0:
		x.End(netcheck.Come, netcheck.Weak("does it send less often than that?", "none came within %v; %s since the start", x.look, count(x.now.Readings, "reading")))
	default:
		x.End(netcheck.Come, netcheck.Weak("", "none came within %v, and none since the start", x.look))
	}
}

// verdict is about a door at which nothing is out of order by itself: what is the
// most likely reason, if nothing comes.
func (x *inspection) verdict() netcheck.Finding {
	if x.Found(netcheck.Come).State == netcheck.OK {
		n := x.now.Readings - x.was.Readings
		return netcheck.Fine("nothing is wrong with %s: %s came within %v", x.now.Name, count(n, "reading"), x.look)
	}
	came := "nothing has come in by " + x.now.Name
	suspects := []string{netcheck.Kept, netcheck.Whole, netcheck.Readable, netcheck.Refused, netcheck.Others, netcheck.Peers}
	if x.now.Readings > 0 {
		came = fmt.Sprintf("nothing comes in by %s at present", x.now.Name)
		suspects = slices.DeleteFunc(suspects, func(s string) bool { return s == netcheck.Others }) // somebody did reach it
	}
	for _, step := range suspects {
		if f := x.Found(step); f.State == netcheck.Warn {
			f.Text = came + ": " + f.Text
			return f
		}
	}
	return netcheck.Weak("look at the device: is it on, and does it send to this gateway?", "%s, and nothing is wrong here", came)
}
