package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/conf"
)

const traceUsage = `Usage: tidegate trace [-config FILE] [-json] DEVICE METRIC

Says where the newest reading of a series is: when it was measured, received and on
flash, and for every uplink whether it was sent and acknowledged, or why it waits.
The gateway must be running.
`

// traceMain runs "tidegate trace" with the arguments behind it.
func traceMain(args []string, stdout, stderr io.Writer) int {
	c := &call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate trace", flag.ContinueOnError)}
	c.flags.SetOutput(stderr)
	c.flags.Usage = func() { io.WriteString(stderr, traceUsage) }
	c.flags.StringVar(&c.file, "config", defaultConfig, "the configuration `FILE`")
	c.flags.BoolVar(&c.json, "json", false, "print JSON")
	var names []string
	for len(args) > 0 { // flags and names in any order
		if err := c.flags.Parse(args); errors.Is(err, flag.ErrHelp) {
			return exitOK
		} else if err != nil {
			return exitUsage
		}
		if args = c.flags.Args(); len(args) > 0 {
			names, args = append(names, args[0]), args[1:]
		}
	}
	if len(names) != 2 {
		return c.report(usageError{errors.New("trace which reading? — hint: write its device and its metric, as the page and \"tidegate buffer peek\" show them")})
	}
	return c.report(c.trace(names[0], names[1]))
}

func (c *call) trace(device, metric string) error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	var t api.Traced
	query := url.Values{"device": {device}, "metric": {metric}}
	if err := askAdmin(context.Background(), cfg.Gateway.SocketPath(), http.MethodGet, "/api/v1/trace?"+query.Encode(), nil, &t); err != nil {
		return err
	}
	if c.json {
		out := json.NewEncoder(c.stdout)
		out.SetIndent("", "  ")
		return out.Encode(t)
	}
	_, err = io.WriteString(c.stdout, traceText(t))
	return err
}

// traceText is a trace for people.
func traceText(t api.Traced) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s = %s", printable(t.Device, 80), printable(t.Metric, 80), printable(fmt.Sprint(t.Value), 80))
	for _, more := range []string{t.Unit, t.Quality} {
		if more != "" {
			b.WriteString(" " + printable(more, 20))
		}
	}
	fmt.Fprintf(&b, "  (%s %d of epoch %s)\n\n", t.Lane, t.Seq, t.Epoch)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	by := "by the device's clock"
	if t.Stamped {
		by = "stamped by the gateway"
	}
	fmt.Fprintf(w, "measured\t%s, %s\n", millisTime(t.Measured), by)
	if t.Stored != 0 {
		came := millisTime(t.Received)
		if t.ReceivedBy != t.Received {
			came += " to " + millisTime(t.ReceivedBy)[len("2006-01-02 "):]
		}
		if len(t.Doors) > 0 {
			came += ", by " + strings.Join(t.Doors, " or ")
		}
		fmt.Fprintf(w, "received\t%s\n", came)
		fmt.Fprintf(w, "on flash\t%s, within %.1f ms\n", millisTime(t.Stored), t.Took)
	} else {
		fmt.Fprintf(w, "on flash\tbefore %s, as far as is remembered\n", millisTime(t.StoredBefore))
	}
	for _, p := range t.Links {
		fmt.Fprintf(w, "%s\t%s\n", p.Link, passageText(p))
	}
	_ = w.Flush() // to memory
	return trimLines(b.String())
}

// passageText puts into words where a reading is with one uplink.
func passageText(p api.Passage) string {
	sent := ""
	if p.Sent != 0 {
		sent = fmt.Sprintf("sent %s in %s with %s", millisTime(p.Sent), conf.Size(p.Bytes).Approx(), others(p.Others))
		if p.Tries > 1 {
			sent += fmt.Sprintf(", try %d at %s", p.Tries, millisTime(p.Tried))
		}
		sent += "; "
	}
	switch p.State {
	case "acked":
		if p.Acked != 0 {
			return sent + "acknowledged " + millisTime(p.Acked)
		}
		return "acknowledged before " + millisTime(p.AckedBefore) + ", as far as is remembered"
	case "sent":
		return sent + "not acknowledged yet"
	case "refused":
		return sent + "refused and set aside as " + p.Block + ": " + printable(p.Why, 300)
	case "lost":
		return sent + "will not arrive: " + p.Why
	case "empty":
		return "left out: the encoding has no words for it"
	}
	text := sent + "waits"
	if p.Ahead > 0 {
		text += " behind " + count(p.Ahead, "older reading")
	}
	if p.Why != "" {
		text += ": " + printable(p.Why, 300)
	}
	return text
}

func others(n int) string {
	switch n {
	case 0:
		return "nothing else"
	case 1:
		return "1 other"
	}
	return fmt.Sprintf("%d others", n)
}

func millisTime(ms int64) string { return time.UnixMilli(ms).Format("2006-01-02 15:04:05.000") }
