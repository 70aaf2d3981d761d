package daemon

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/refine"
	"github.com/tidegate/tidegate/ingest/route"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/reading"
)

const testUsage = `tidegate test shows what becomes of payloads: how they are decoded, what happens
to their readings, and what is left out. It stores and sends nothing, and takes
the way that they would take through the gateway.

Usage:
  tidegate test [-config FILE] -topic TOPIC [-door mqtt|http|coap] [flags] [FILE...]
                          as if published to a topic
  tidegate test [-config FILE] -door serial:NAME|line:NAME [flags] [FILE...]
                          as if the bytes had come over that line, in its framing
  tidegate test [-config FILE] -device NAME [flags] [FILE...]
                          as if a device had sent them, without any route

Every FILE is a payload, "-" or none standing for standard input; with -lines,
every line is one. What a payload announces (names, units) is known to those after
it; what devices have announced to the gateway is not. The exit code is 1 if a
payload cannot be decoded.

Flags:
`

// testCall is one call of "tidegate test".
type testCall struct {
	call
	door, topic, device, metric, decode, refine string
	lines                                       bool
	every                                       conf.Duration

	where    string // the payloads come from
	means    string // what that means
	named    string // how its device is named, if not by the route
	target   route.Target
	frames   *frame.Scanner // of a line; nil where payloads come whole
	steps    []Refine       // that the readings go through
	chains   *chains
	filtered []refused // of the payload at hand
	tried    []tried
	size     int
	now      time.Time
}

// refused is a reading that was left out, and why.
type refused struct {
	reading.Reading
	why refine.Reason
}

// tried is one payload and what became of it.
type tried struct {
	payload  []byte // the beginning of it
	size     int
	fate     route.Fate
	err      error
	kept     []reading.Reading
	filtered []refused
	arrived  time.Time
}

// The bounds of what is shown, which is kept in memory.
const (
	maxTried     = 100_000
	maxTestBytes = 64 << 20
	maxShown     = 4 << 10 // of one payload
)

// testMain runs "tidegate test" with the arguments behind it.
func testMain(args []string, stdout, stderr io.Writer) int {
	c := &testCall{call: call{stdout: stdout, stderr: stderr, flags: flag.NewFlagSet("tidegate test", flag.ContinueOnError)}}
	c.declare()
	if err := c.takeFlags(args); err != nil {
		return c.report(err)
	}
	return c.report(c.test())
}

func (c *testCall) declare() {
	c.flags.SetOutput(c.stderr)
	c.flags.StringVar(&c.file, "config", defaultConfig, "the configuration `FILE`")
	c.flags.StringVar(&c.topic, "topic", "", "the `TOPIC` or path that the payloads come on")
	c.flags.StringVar(&c.door, "door", "mqtt", "the `DOOR`: mqtt, http or coap, whose routes say what the topic means, or a line")
	c.flags.StringVar(&c.device, "device", "", "the `NAME` of the device that sends the payloads, if there is no topic")
	c.flags.StringVar(&c.metric, "metric", "", "the `NAME` of what plain values measure, if there is no topic")
	c.flags.StringVar(&c.decode, "decode", "", "the `DECODER` to use instead of the route's; json without a route")
	c.flags.StringVar(&c.refine, "refine", "", "`NAMES` of [[refine]] tables to use instead of the route's, with commas between them")
	c.flags.BoolVar(&c.lines, "lines", false, "every line is a payload")
	c.flags.TextVar(&c.every, "every", conf.Duration(0), "pretend that so much time is between payloads: `10s`")
	c.flags.BoolVar(&c.json, "json", false, "print JSON")
	c.flags.Usage = func() {
		io.WriteString(c.stderr, testUsage)
		c.flags.PrintDefaults()
	}
}

func (c *testCall) test() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	if err := c.aim(cfg); err != nil {
		return usageError{err}
	}
	ctx, stop := untilStopped()
	defer stop()
	if err := c.readAll(ctx); err != nil {
		return err
	}
	print := c.printTable
	if c.json {
		print = c.printJSON
	}
	if err := print(); err != nil {
		return err
	}
	if c.undecodable() > 0 {
		return errSaid
	}
	return nil
}

// aim finds the target that the payloads go to.
func (c *testCall) aim(cfg Config) error {
	v, err := cfg.vocabulary()
	if err != nil {
		return err
	}
	c.chains = v.chains
	c.chains.observe = func(r reading.Reading, why refine.Reason) {
		c.filtered = append(c.filtered, refused{r, why})
	}
	m := meaning{decode: "json", lane: reading.Normal.String(), undecodable: "keep"}
	switch {
	case c.isLineDoor():
		m, err = c.aimAtLine(cfg, v)
	case c.topic != "" && (c.device != "" || c.metric != ""):
		return errors.New("-topic says which device it is — hint: leave out -device and -metric, or -topic")
	case c.topic == "" && c.device == "":
		return errors.New("where do the payloads come from? — hint: -topic plant/press-1, or -device press-1")
	case c.topic != "":
		m, err = c.aimAtTopic(cfg, v)
	default:
		c.target, c.where = v.target(m, c.device, c.metric), "without any route"
	}
	if err != nil {
		return err
	}
	if m, err = c.replace(cfg.words(), v, m); err != nil {
		return err
	}
	c.means = fmt.Sprintf("device %s, decode %s, lane %s", cmp.Or(c.named, c.target.Device), m.decode, m.lane)
	if len(m.refine) > 0 {
		c.means += ", refine " + strings.Join(m.refine, " and ")
	}
	for _, name := range m.refine {
		c.steps = append(c.steps, cfg.refinesOf(name)...)
	}
	return nil
}

// aimAtTopic asks the routes of a door.
func (c *testCall) aimAtTopic(cfg Config, v vocabulary) (m meaning, err error) {
	doors := map[string][]Route{"mqtt": cfg.Ingest.MQTT.Routes, "http": cfg.Ingest.HTTP.Routes, "coap": cfg.Ingest.CoAP.Routes}
	routes, known := doors[c.door]
	if !known {
		return m, fmt.Errorf("-door: there is no door %q with routes — hint: %s", c.door, conf.Suggest(c.door, slices.Sorted(maps.Keys(doors))))
	}
	if strings.ContainsAny(c.topic, "+#") {
		return m, fmt.Errorf("-topic: %q is a filter — hint: name one topic that a device publishes to", c.topic)
	}
	v.users = c.door == "coap"
	var spoken []string
	if c.door == "mqtt" {
		spoken = cfg.Ingest.MQTT.Dialects
	}
	table, err := v.table(routes, spoken...)
	if err != nil {
		return m, err
	}
	var ok bool
	if c.target, ok = table.ResolveFor(c.topic, "{user}"); !ok { // whoever that will be
		return m, fmt.Errorf("-topic: %q begins with $ — hint: such topics are the broker's own and carry no readings", c.topic)
	}
	m = meaning{decode: "json", lane: reading.Normal.String(), undecodable: "keep"}
	c.where = c.topic + ": no route of ingest." + c.door + " matches"
	for i, r := range routes {
		template, err := route.ParseTemplate(r.Topic)
		if err != nil {
			return m, err
		}
		if _, matches := template.Match(c.topic); matches {
			c.where = fmt.Sprintf("%s: route %d of ingest.%s, %q", c.topic, i+1, c.door, r.Topic)
			return r.meaning(), nil
		}
	}
	if name, template := dialectOf(c.topic, spoken); name != "" {
		c.where += fmt.Sprintf(", but the dialect %s, %q", name, template)
		m.decode, c.named = name, "as "+name+" names it"
	}
	return m, nil
}

// replace puts in what the call wants otherwise than the route.
func (c *testCall) replace(w words, v vocabulary, m meaning) (meaning, error) {
	if c.decode != "" {
		m.decode = c.decode
		if c.target.Decoder = v.decoders[c.decode]; c.target.Decoder == nil {
			return m, fmt.Errorf("-decode: there is no decoder %q — hint: %s", c.decode, conf.Suggest(c.decode, w.decoders))
		}
	}
	wanted := strings.FieldsFunc(c.refine, func(r rune) bool { return r == ',' || r == ' ' })
	var wrong error
	w.validateRefine(func(_, hint, what string, args ...any) {
		wrong = cmp.Or(wrong, fmt.Errorf("-refine: %s — hint: %s", fmt.Sprintf(what, args...), hint))
	}, "-refine", wanted)
	if wrong != nil {
		return m, wrong
	}
	if len(wanted) > 0 {
		m.refine, c.target.Refine = wanted, v.chain(wanted)
	}
	return m, nil
}

// readAll reads the files, or standard input, and tries every payload.
func (c *testCall) readAll(ctx context.Context) error {
	c.now = time.Now()
	intake := ingest.NewIntake(nil, nil, func() time.Time { return c.now })
	files := c.flags.Args()
	if len(files) == 0 {
		files = []string{"-"}
	}
	for _, name := range files {
		in := os.Stdin
		if name != "-" {
			var err error
			if in, err = os.Open(name); err != nil {
				return err
			}
			defer in.Close()
		}
		if err := c.read(ctx, in, name, intake); err != nil {
			return err
		}
	}
	return nil
}

// read tries the payloads of one file until it ends, or somebody has seen enough.
func (c *testCall) read(ctx context.Context, in io.Reader, name string, intake *ingest.Intake) error {
	payloads, done := make(chan []byte), make(chan error, 1)
	go func() { done <- c.split(ctx, in, name, payloads) }()
	for {
		select {
		case p := <-payloads:
			if err := c.try(intake, p); err != nil {
				return err
			}
		case err := <-done:
			return err
		case <-ctx.Done(): // the reader may hang in a terminal: the process ends soon
			return nil
		}
	}
}

// split cuts a file into payloads.
func (c *testCall) split(ctx context.Context, in io.Reader, name string, payloads chan<- []byte) error {
	give := func(p []byte) {
		select {
		case payloads <- bytes.Clone(p):
		case <-ctx.Done():
		}
	}
	if c.frames != nil {
		return c.splitFrames(ctx, in, give)
	}
	if !c.lines {
		whole, err := io.ReadAll(io.LimitReader(in, maxTestBytes+1))
		if err == nil {
			give(whole)
		}
		return err
	}
	scanner := bufio.NewScanner(in)
	scanner.Buffer(nil, maxTestBytes)
	for scanner.Scan() && ctx.Err() == nil {
		if line := scanner.Bytes(); len(line) > 0 {
			give(line)
		}
	}
	if err := scanner.Err(); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	return nil
}

// try lets one payload through, as a door would.
func (c *testCall) try(intake *ingest.Intake, payload []byte) error {
	if c.size += len(payload); c.size > maxTestBytes || len(c.tried) == maxTried {
		return usageError{fmt.Errorf("more than %d payloads, or %v of them — hint: test a part", maxTried, conf.Size(maxTestBytes))}
	}
	if c.every == 0 {
		c.now = time.Now()
	} else if len(c.tried) > 0 {
		c.now = c.now.Add(time.Duration(c.every))
	}
	c.filtered = nil
	rs, fate, err := c.target.Read(nil, payload, route.Arrival{Intake: intake, Now: intake.Now()})
	c.tried = append(c.tried, tried{
		payload: payload[:min(len(payload), maxShown)], size: len(payload),
		fate: fate, err: err, kept: rs, filtered: c.filtered, arrived: c.now,
	})
	return nil
}

// undecodable counts the payloads that could not be decoded.
func (c *testCall) undecodable() (n int) {
	for _, t := range c.tried {
		if t.fate != route.Decoded {
			n++
		}
	}
	return n
}
