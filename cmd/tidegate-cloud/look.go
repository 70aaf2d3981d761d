package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate/tidegate/cloud"
)

// place is where a command looks: a store's folder, or a running receiver.
type place struct {
	data, url string
}

func (p *place) flags(flags *flag.FlagSet) {
	flags.StringVar(&p.data, "data", "", "folder of the store")
	flags.StringVar(&p.url, "url", "", "address of a running tidegate-cloud")
}

func (p *place) check(name string) error {
	if (p.data == "") == (p.url == "") {
		return usagef("%s: give one of -data and -url", name)
	}
	return nil
}

// get asks the running receiver. The caller closes what it returns.
func (p *place) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	target := strings.TrimSuffix(p.url, "/") + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return nil, usageError{err}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w — hint: is \"tidegate-cloud run\" listening there?", err)
	}
	if res.StatusCode == http.StatusOK {
		return res.Body, nil
	}
	defer res.Body.Close()
	var no struct{ Error, Hint string }
	if err := json.NewDecoder(io.LimitReader(res.Body, 64<<10)).Decode(&no); err != nil {
		return nil, fmt.Errorf("%s answered %s — hint: is that a tidegate-cloud?", target, res.Status)
	}
	return nil, fmt.Errorf("%s answered %s: %s — hint: %s", target, res.Status, no.Error, no.Hint)
}

// ledger prints what is here and what is missing.
func ledger(ctx context.Context, args []string, s streams) error {
	var from place
	var asJSON bool
	flags := flag.NewFlagSet("ledger", flag.ContinueOnError)
	from.flags(flags)
	flags.BoolVar(&asJSON, "json", false, "print JSON")
	if err := errors.Join(parse(flags, args, 0, 0), from.check("ledger")); err != nil {
		return err
	}
	lanes, err := from.ledger(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		out := json.NewEncoder(s.out)
		out.SetIndent("", "  ")
		return out.Encode(map[string]any{"lanes": lanes})
	}
	return printLedger(s.out, lanes)
}

func (p *place) ledger(ctx context.Context) ([]cloud.LaneLedger, error) {
	if p.data != "" {
		store, err := cloud.Open(cloud.StoreConfig{Dir: p.data, ReadOnly: true})
		if err != nil {
			return nil, err
		}
		defer store.Close()
		return store.Ledger()
	}
	body, err := p.get(ctx, "/v1/ledger", nil)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var answer struct{ Lanes []cloud.LaneLedger }
	if err := json.NewDecoder(body).Decode(&answer); err != nil {
		return nil, fmt.Errorf("answer of %s: %w", p.url, err)
	}
	return answer.Lanes, nil
}

// printLedger prints a table, and below it what needs more words.
func printLedger(w io.Writer, lanes []cloud.LaneLedger) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "GATEWAY\tEPOCH\tLANE\tREADINGS\tRECEIVED\tMISSING\tGAPS\tDUPLICATES\tFIRST TIME\tLAST TIME\tLAST DELIVERY")
	for _, l := range lanes {
		fmt.Fprintf(t, "%s\t%s\t%s\t%d\t%s\t%d\t%d\t%d\t%s\t%s\t%s\n", l.Gateway, l.Epoch, l.Lane, l.Readings,
			rangeList(l.Ranges), l.MissingReadings, len(l.Gaps), l.Duplicates,
			timeText(l.FirstTime), timeText(l.LastTime), timeText(l.ReceivedAt))
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for _, l := range lanes {
		name := fmt.Sprintf("%s %s %s", l.Gateway, l.Epoch, l.Lane)
		if len(l.Missing) > 0 {
			fmt.Fprintf(w, "%s: missing %s\n", name, rangeList(l.Missing))
		}
		for _, g := range l.Gaps {
			fmt.Fprintf(w, "%s: the gateway lost %d of %d..%d: %s\n", name, g.Count, g.First, g.Last, g.Reason)
		}
	}
	printTwins(w, lanes)
	return nil
}

// printTwins tells, once of each name, that two gateways deliver under it.
func printTwins(w io.Writer, lanes []cloud.LaneLedger) {
	last := map[string]cloud.LaneLedger{}
	for _, l := range lanes {
		if l.TwinAt > last[l.Gateway].TwinAt {
			last[l.Gateway] = l
		}
	}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		l := last[name]
		fmt.Fprintf(w, "%s: two gateways deliver under this name, in the epochs %s and %s, last seen %s — hint: %s\n", name, l.Epoch, l.Twin, timeText(l.TwinAt), cloud.TwinHint)
	}
}

// rangeList writes the first ranges, and how many more there are.
func rangeList(ranges []cloud.Range) string {
	const most = 4
	if len(ranges) == 0 {
		return "-"
	}
	var parts []string
	for _, r := range ranges[:min(most, len(ranges))] {
		parts = append(parts, fmt.Sprintf("%d..%d", r.First, r.Last))
	}
	if more := len(ranges) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ",")
}

func timeText(ns int64) string {
	if ns == 0 {
		return "-"
	}
	return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05Z")
}

// export prints readings.
func export(ctx context.Context, args []string, s streams) error {
	var from place
	flags := flag.NewFlagSet("export", flag.ContinueOnError)
	from.flags(flags)
	for _, name := range []string{"gateway", "lane", "device", "from", "since", "until"} {
		flags.String(name, "", "filter")
	}
	if err := errors.Join(parse(flags, args, 0, 0), from.check("export")); err != nil {
		return err
	}
	query := url.Values{}
	flags.Visit(func(f *flag.Flag) {
		if f.Name != "data" && f.Name != "url" {
			query.Set(f.Name, f.Value.String())
		}
	})
	filter, err := cloud.ParseFilter(query)
	if err != nil {
		return usageError{fmt.Errorf("export: %w", err)}
	}
	if from.data != "" {
		store, err := cloud.Open(cloud.StoreConfig{Dir: from.data, ReadOnly: true})
		if err != nil {
			return err
		}
		return errors.Join(store.Export(ctx, s.out, filter), store.Close())
	}
	body, err := from.get(ctx, "/v1/export", query)
	if err != nil {
		return err
	}
	defer body.Close()
	if _, err := io.Copy(s.out, body); err != nil {
		return fmt.Errorf("export is not complete: %w — hint: see the log of the tidegate-cloud that was asked", err)
	}
	return nil
}
