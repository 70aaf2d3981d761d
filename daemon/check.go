package daemon

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/bootclock"
	"github.com/tidegate/tidegate/internal/netcheck"
	"github.com/tidegate/tidegate/internal/serialport"
	"github.com/tidegate/tidegate/internal/starts"
)

// Level says how bad a Finding is.
type Level int

// The levels. OK is as it should be; Warn works, but some promise is weaker
// than it could be; Fail will keep the gateway from running.
const (
	OK Level = iota
	Warn
	Fail
)

// Finding is one line of the checklist.
type Finding struct {
	Level Level
	// What was found. Hint says what to do about it, and is empty for OK.
	What, Hint string
}

// Check looks at what a configuration needs from the machine and the network.
// It changes nothing but a probe file without a name in the data directory, and takes
// little more than ten seconds. c must be valid.
func Check(ctx context.Context, c Config) []Finding {
	k := &checklist{}
	k.machine(ctx, c)
	k.uplinks(ctx, c)
	k.commands(ctx, c)
	return k.findings
}

// machine checks everything but what is on the other side of the links.
func (k *checklist) machine(ctx context.Context, c Config) {
	k.identity(c.Gateway, thisMachine())
	now := k.now(c)
	if !k.offline {
		k.clock(now, bootclock.Synced())
	}
	k.dataDir(c.Gateway.DataDir, int64(c.Buffer.MaxBytes))
	if !k.offline {
		k.starts(c.Gateway.DataDir, c.Gateway.SocketPath(), starts.Itself(Version))
	}
	k.listener("ingest.mqtt", c.Ingest.MQTT.Listen, c.Gateway.SocketPath())
	if plain := c.Ingest.MQTT.PlainListen; plain != "" {
		k.listener("ingest.mqtt (plain)", plain, c.Gateway.SocketPath())
	}
	k.access(c.Ingest.MQTT)
	k.clients(c)
	k.http(c.Ingest.HTTP, c.Gateway.SocketPath())
	k.modbus(ctx, c)
	k.serial(c.lines(), c.Gateway.SocketPath(), serialport.Host{})
	k.coap(c.Ingest.CoAP, c.Buffer.AckDelay(), c.Gateway.SocketPath())
	k.lineDoors(ctx, c.Ingest.Line, c.Gateway)
	k.dashboard(c.Dashboard, c.Gateway.DataDir, c.Gateway.SocketPath())
	k.certificates(c.certificates(), now)
	k.refinements(c)
	k.links(c, k.network(c), now)
}

// now is what the clock says, or offline, for clocks are often set later than that, what it
// must at least be.
func (k *checklist) now(c Config) time.Time {
	if k.offline {
		return later(time.Now(), c.clockFloor())
	}
	return time.Now()
}

// Worst returns the highest level among the findings.
func Worst(findings []Finding) Level {
	worst := OK
	for _, f := range findings {
		worst = max(worst, f.Level)
	}
	return worst
}

// WriteFindings prints the findings as a checklist, and their number.
func WriteFindings(w io.Writer, findings []Finding) error { return writeFindings(w, findings, OK) }

// writeFindings prints the findings of that level and above, and the number of all.
func writeFindings(w io.Writer, findings []Finding, from Level) error {
	var b strings.Builder
	var count [Fail + 1]int
	for _, f := range findings {
		count[f.Level]++
		if f.Level < from {
			continue
		}
		fmt.Fprintf(&b, "%c %s\n", [...]rune{'✓', '!', '✗'}[f.Level], f.What)
		if f.Hint != "" {
			fmt.Fprintf(&b, "    hint: %s\n", f.Hint)
		}
	}
	fmt.Fprintf(&b, "%d fine, %d to look at, %d to fix\n", count[OK], count[Warn], count[Fail])
	_, err := io.WriteString(w, b.String())
	return err
}

// checklist collects findings in the order in which they are made.
type checklist struct {
	findings []Finding
	// offline keeps it to what CheckOffline looks at.
	offline bool
}

// parts returns n lists of the same kind, for what is looked at at once.
func (k *checklist) parts(n int) []checklist {
	return slices.Repeat([]checklist{{offline: k.offline}}, n)
}

// network is the links of the configuration for those who only look; none for those who
// do not even do that.
func (k *checklist) network(c Config) network {
	if k.offline {
		return network{}
	}
	return peekNetwork(c, slog.New(slog.DiscardHandler))
}

func (k *checklist) ok(what string, args ...any) {
	k.findings = append(k.findings, Finding{OK, fmt.Sprintf(what, args...), ""})
}

func (k *checklist) warn(hint, what string, args ...any) {
	k.findings = append(k.findings, Finding{Warn, fmt.Sprintf(what, args...), hint})
}

func (k *checklist) fail(hint, what string, args ...any) {
	k.findings = append(k.findings, Finding{Fail, fmt.Sprintf(what, args...), hint})
}

// identity warns of names that another gateway may have: two of one name are one
// gateway to the cloud.
func (k *checklist) identity(g Gateway, m machine) {
	is, err := g.identify(m)
	if err != nil {
		what, hint := netcheck.Cut(err)
		k.fail(hint, "%s", what)
		return
	}
	if is.doubt != "" {
		what, hint, _ := strings.Cut(is.doubt, " — hint: ")
		k.warn(hint, "%s", what)
		return
	}
	k.ok("the gateway's id is %s", is.ID)
}

// clock warns of a clock that is certainly wrong or may be: readings that come
// without a time get the gateway's.
func (k *checklist) clock(now time.Time, synced bool) {
	f := netcheck.Clock{Now: now, Synced: synced, Past: bootclock.Written()}.Judge()
	if f.State == netcheck.OK {
		k.ok("%s", f.Text)
		return
	}
	k.warn(f.Hint, "%s", f.Text)
}

// openToAll warns of a file or folder that users outside its owner and group may use,
// and reports whether it did. whose is what begins the line: the table that names it.
func (k *checklist) openToAll(whose, path string) bool {
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o007 == 0 {
		return false
	}
	k.warn("chmod o-rwx "+path, "%s: everybody on this machine can use %s", whose, path)
	return true
}

// guests is a file that says who may come in at a door.
type guests struct {
	table, path, of string // of what it is a list: users, tokens or keys
	// unread is the hint when it cannot be read, and the error has none; add is what to
	// do when there is nobody in it.
	unread, add string
}

// list looks at such a file after it was read, with this list or error.
func (k *checklist) list(g guests, all interface{ Len() int }, err error) {
	if err != nil {
		what, hint := netcheck.Cut(err)
		k.fail(cmp.Or(hint, g.unread), "%s: %s", g.table, what)
		return
	}
	if k.openToAll(g.table, g.path) {
		return
	}
	if all.Len() == 0 {
		k.warn(g.add, "%s: %s has no %s", g.table, g.path, g.of)
		return
	}
	k.ok("%s: %s in %s: %d", g.table, g.of, g.path, all.Len())
}
