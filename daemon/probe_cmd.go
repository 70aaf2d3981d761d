package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/serialport"
)

// defaultListen is how long is listened at each setting. Most sensors say
// something every second.
const defaultListen = duration(1200 * time.Millisecond)

// shownCandidates is how many explanations are printed.
const shownCandidates = 3

func (c *lineCall) probe() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	var send conf.Bytes
	if err := send.UnmarshalText([]byte(c.send)); err != nil {
		return usageError{fmt.Errorf("-send: %w", err)}
	}
	bauds, err := parseBauds(c.bauds)
	if err != nil {
		return err
	}
	if s, known := c.configured(cfg); known {
		c.what = s.Port
	}
	decoders, err := probers(cfg)
	if err != nil {
		return err
	}
	ctx, stop := c.context(0)
	defer stop()
	fmt.Fprintf(c.stderr, "listening to %s, %v at each setting\n", c.what, conf.Duration(c.length))
	found, err := serialin.Probe(ctx, serialin.Probing{
		Port: serialport.Config{Path: c.what, Host: c.host}, Bauds: bauds, Send: send, Listen: c.length.span(), Decoders: decoders,
		Heard: func(s serialin.Sample) {
			c.heard += len(s.Data)
			fmt.Fprintf(c.stderr, "  %-11s %4d bytes%s\n", s.Port, len(s.Data), damagedNote(s))
		},
		Refused: func(p serialport.Config) { fmt.Fprintf(c.stderr, "  %-11s the driver cannot\n", p) },
	})
	if errors.Is(err, context.Canceled) {
		return errSaid
	}
	if err != nil {
		return err
	}
	return c.writeProbe(found)
}

func damagedNote(s serialin.Sample) string {
	if s.Damaged == 0 {
		return ""
	}
	return fmt.Sprintf(", %d damaged", s.Damaged)
}

// probers are all decoders that say something about a payload, the pickiest
// first: those of the configuration, json, and others by name. raw takes all.
func probers(cfg Config) ([]serialin.Named, error) {
	v, err := cfg.vocabulary()
	if err != nil {
		return nil, err
	}
	plain := plainDecoders()
	rank := func(name string) int {
		switch {
		case plain[name] == nil:
			return 0
		case name == "json" || name == "senml" || name == "nmea":
			return 1
		case name == "csv" || name == "cbor" || name == "lpp": // take much that is something else
			return 3
		}
		return 2
	}
	names := slices.Sorted(maps.Keys(v.decoders))
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	var all []serialin.Named
	for _, name := range names {
		if name != "raw" {
			all = append(all, serialin.Named{Name: name, Decoder: v.decoders[name]})
		}
	}
	return all, nil
}

func (c *lineCall) writeProbe(found []serialin.Candidate) error {
	var b strings.Builder
	switch {
	case len(found) == 0 && c.heard == 0 && c.send != "":
		b.WriteString("\nno answer came, at any speed\n    hint: is it what the device answers to, with the end that it wants, for example '\\r\\n'? Else look at power, ground, and whether RX and TX are crossed\n")
	case len(found) == 0 && c.heard == 0:
		b.WriteString("\nnothing came, at any speed\n    hint: many devices speak only when asked: -send 'T?\\r\\n'; else look at power, ground, and whether RX and TX are crossed\n")
	case len(found) == 0 || found[0].Points < serialin.Likely:
		b.WriteString("\nsomething came, and nothing explains it\n    hint: -for 10s listens longer; what there is to see shows \"tidegate tap\"\n")
	}
	for i, candidate := range found[:min(len(found), shownCandidates)] {
		if i > 0 && candidate.Points < serialin.Likely {
			break
		}
		fmt.Fprintf(&b, "\n%d. %s, %s: %d of 100 points\n", i+1, candidate.Sample.Port, framingOf(candidate.Framing), candidate.Points)
		for _, e := range candidate.Evidence() {
			fmt.Fprintf(&b, "     %s\n", e)
		}
		if len(candidate.Frames) > 0 {
			f := candidate.Frames[0]
			fmt.Fprintf(&b, "     %s  %s\n", spacedHex(f[:min(len(f), perRow)]), asText(f[:min(len(f), 3*perRow)]))
		}
	}
	if len(found) > 0 && found[0].Points >= serialin.Likely {
		b.WriteString("\nTo read it, write into the configuration:\n\n")
		c.proposal(&b, found[0])
	}
	if _, err := io.WriteString(c.stdout, b.String()); err != nil {
		return err
	}
	if len(found) == 0 || found[0].Points < serialin.Likely {
		return errSaid
	}
	return nil
}

func framingOf(f frame.Config) string {
	if f.Checksum == frame.None {
		return f.Kind.String()
	}
	return fmt.Sprintf("%s with %s", f.Kind, f.Checksum)
}

// proposal writes a block of the configuration, with what differs from the
// defaults.
func (c *lineCall) proposal(b *strings.Builder, found serialin.Candidate) {
	port, best := found.Sample.Port, c.what
	if whole, err := filepath.Abs(best); err == nil { // it may have been typed in its folder
		best = whole
	}
	if place, err := c.host.Resolve(best); err == nil && place.Kernel {
		if infos, err := c.host.List(); err == nil {
			best = infoOf(infos, place.Device).Best()
		}
	}
	fmt.Fprintf(b, "[[ingest.serial]]\nname = %q\nport = %q\nbaud = %d\n", nameFor(best), best, port.Baud)
	if port.DataBits != 8 {
		fmt.Fprintf(b, "data_bits = %d\n", port.DataBits)
	}
	if port.Parity != serialport.None {
		fmt.Fprintf(b, "parity = %q\n", port.Parity)
	}
	if found.Decoder != "json" {
		fmt.Fprintf(b, "decode = %q\n", found.Decoder)
	}
	if c.send != "" {
		fmt.Fprintf(b, "unasked = \"drop\"\n")
	}
	if f := found.Framing; f != (frame.Config{}) {
		fmt.Fprintf(b, "\n[ingest.serial.framing]\nkind = %q\n", f.Kind)
		if f.Checksum != frame.None {
			fmt.Fprintf(b, "checksum = %q\n", f.Checksum)
		}
		if f.Envelope.SumAfterEnd {
			b.WriteString("checksum_after_end = true\n")
		}
	}
	if c.send != "" {
		fmt.Fprintf(b, "\n[[ingest.serial.poll]]\nrequest = '%s'\ninterval = \"10s\"\n", strings.ReplaceAll(c.send, "'", `\x27`))
	}
}

// nameFor makes a name for a line out of that of its port.
func nameFor(port string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, filepath.Base(port))
	if name = strings.Trim(name[:min(len(name), 64)], "-."); !isName(name) {
		return "line"
	}
	return name
}
