package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/inorder"
)

// defaultListen is how long is listened at each setting. Most sensors say
// something every second.
const defaultListen = duration(1200 * time.Millisecond)

// shownCandidates is how many explanations are shown.
const shownCandidates = 3

func (c *lineCall) probe() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	ask := api.SerialProbe{SerialPlace: api.SerialPlace{Port: c.what}, Send: c.send, Listen: int(c.length.span().Milliseconds())}
	if err := new(conf.Bytes).UnmarshalText([]byte(c.send)); err != nil {
		return usageError{fmt.Errorf("-send: %w", err)}
	}
	if ask.Bauds, err = parseBauds(c.bauds); err != nil {
		return err
	}
	if s, known := c.configured(cfg); known {
		ask.Port = s.Port
	}
	ctx, stop := c.context(0)
	defer stop()
	fmt.Fprintf(c.stderr, "listening to %s, %v at each setting\n", ask.Port, conf.Duration(c.length))
	err = c.bench(cfg).Probe(ctx, ask, func(t api.SerialTried) error {
		if t.Result != nil {
			return c.writeProbe(*t.Result)
		}
		if t.Setting != "" {
			fmt.Fprintln(c.stderr, " ", t.Say)
		}
		return nil
	})
	if errors.Is(err, context.Canceled) {
		return errSaid
	}
	return err
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
	inorder.Sort(names, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	var all []serialin.Named
	for _, name := range names {
		if name != "raw" {
			all = append(all, serialin.Named{Name: name, Decoder: v.decoders[name]})
		}
	}
	return all, nil
}

func (c *lineCall) writeProbe(r api.SerialProbed) error {
	var b strings.Builder
	for _, a := range r.Advice {
		fmt.Fprintf(&b, "\n%s\n", strings.Replace(a, " — hint: ", "\n    hint: ", 1))
	}
	for i, candidate := range r.Found {
		if i > 0 && !candidate.Likely {
			break
		}
		fmt.Fprintf(&b, "\n%d. %s\n", i+1, candidate.Title)
		for _, e := range candidate.Evidence {
			fmt.Fprintf(&b, "     %s\n", e)
		}
		if f := candidate.Frame; len(f) > 0 {
			fmt.Fprintf(&b, "     %s  %s\n", spacedHex(f[:min(len(f), perRow)]), asText(f[:min(len(f), 3*perRow)]))
		}
	}
	if r.TOML != "" {
		fmt.Fprintf(&b, "\nTo read it, write into the configuration:\n\n%s", r.TOML)
	}
	if _, err := io.WriteString(c.stdout, b.String()); err != nil {
		return err
	}
	if r.TOML == "" {
		return errSaid
	}
	return nil
}
