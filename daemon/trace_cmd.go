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
	"regexp"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
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
		if err := c.takeFlags(args); err != nil {
			return c.report(err)
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
	aTime := regexp.MustCompile(`\{\d{1,15}\}`)
	for _, step := range t.Steps {
		text := aTime.ReplaceAllStringFunc(step.Text, func(found string) string {
			ms, _ := strconv.ParseInt(found[1:len(found)-1], 10, 64) // digits; none that are too many
			return millisTime(ms)
		})
		if step.Why != "" {
			text += ": " + printable(step.Why, 300)
		}
		fmt.Fprintf(w, "%s\t%s\n", printable(step.Title, 40), text)
	}
	_ = w.Flush() // to memory
	return trimLines(b.String())
}

func millisTime(ms int64) string { return time.UnixMilli(ms).Format("2006-01-02 15:04:05.000") }
