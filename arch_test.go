package tidegate_test

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// storeys is the floor plan. Imports go strictly down: never up, never sideways.
var storeys = []struct {
	storey  int
	pattern string // as in path.Match, over the folder
}{
	{5, "cmd/*"},
	{5, "packaging/completion"}, {5, "packaging/man"}, {5, "packaging/sbom"}, {5, "packaging/vm/*"},
	{4, "packaging/usage"}, // asks the programs as anybody would: it imports none of them
	{4, "daemon"},
	{3, "ingest/*in"}, {3, "uplink/*out"}, {3, "uplink/encode"}, {3, "firmware-sim"},
	{3, "ingest/ingesttest"}, {3, "uplink/uplinktest"},
	{4, "command/commandtest"}, // over ingesttest
	{3, "command/over*"},
	{3, "dashboard/api"},
	{2, "command"},
	{2, "buffer"}, {2, "uplink"}, {2, "ingest/route"}, {2, "ingest/dialect"}, {2, "dashboard"}, {2, "cloud"},
	{1, "ingest/refine"},
	{2, "uplink/natsline"},
	{1, "uplink/carrier"}, {1, "uplink/onelink"},
	{1, "wire"}, {1, "ingest"}, {1, "ingest/decode"}, {1, "ingest/sparkplug"},
	{0, "reading"}, {0, "ingest/frame"}, {0, "internal/*"},
	{-1, "internal/base/*"}, // the cellar: what even the lowest storey stands on
}

// forbidden imports go down, and are wrong all the same.
var forbidden = []struct {
	from, to []string
	because  string
}{
	{[]string{"buffer"}, []string{"ingest", "ingest/decode"},
		"the buffer keeps readings; where they come from is not its business"},
	{[]string{"dashboard"}, []string{"wire", "ingest", "ingest/decode"},
		"the dashboard is shown things; it never looks for itself"},
	{[]string{"cloud"}, []string{"ingest", "ingest/decode", "internal/*", "internal/base/*"},
		"the other end is another machine and another program: it may know the wire only"},
	{[]string{"uplink", "uplink/encode"}, []string{"ingest", "ingest/decode"},
		"what leaves comes from the buffer, never from a door in"},
	{[]string{"ingest/*in"}, []string{"wire", "buffer", "uplink", "uplink/encode", "dashboard", "cloud"},
		"a door in knows its intake: what is behind it may change"},
	{[]string{"uplink/*out"}, []string{"ingest", "ingest/decode", "ingest/route", "buffer", "dashboard", "cloud"},
		"a door out knows the sink contract: what is before it may change"},
	{[]string{"uplink", "uplink/*", "ingest/*in", "cloud", "dashboard"}, []string{"command", "command/*"},
		"what comes down has a room of its own: a sink that brought commands would be two things"},
	{[]string{"command"}, []string{"wire", "ingest/decode"},
		"a command is no reading, and its payload is the device's business"},
	{[]string{"command/over*"}, []string{"wire", "ingest", "ingest/decode", "ingest/route", "buffer", "uplink", "uplink/encode", "dashboard", "cloud"},
		"a courier knows its protocol and its clerk: what is decided, and by what rules, is the desk's"},
	{[]string{"cmd/tidegate", "cmd/tidegate-cloud", "daemon"}, []string{"command/commandtest", "firmware-sim", "ingest/ingesttest", "uplink/uplinktest", "internal/servertest", "internal/base/porttest", "internal/base/leaktest"},
		"what is shipped does not carry its simulation and its test suites along"},
	{[]string{"cmd/tidegate", "cmd/firmware-sim"}, []string{"cloud"},
		"a gateway runs without a cloud on board"},
	{[]string{"cmd/tidegate-cloud", "cmd/firmware-sim"}, []string{"daemon"},
		"the cloud and the simulator are no gateways"},
}

// homes says which packages may import a module that is not ours, so that each
// of them can be replaced in one place.
var homes = []struct {
	dependency string
	packages   []string
}{
	{"github.com/mochi-mqtt/server/v2", []string{"command/overmqtt", "ingest/mqttin", "uplink/mqttout"}},
	{"go.etcd.io/bbolt", []string{"buffer", "cloud"}},
	{"github.com/klauspost/compress", []string{"cmd/tidegate-cloud", "ingest/httpin", "internal/kafka", "uplink/fileout", "uplink/httpout", "wire"}},
	{"google.golang.org/protobuf", []string{"ingest/sparkplug"}},
	{"github.com/coder/websocket", []string{"cloud", "dashboard", "ingest/mqttin", "uplink/mqttout", "uplink/wsout"}},
	{"github.com/pelletier/go-toml/v2", []string{"internal/conf"}},
	{"golang.org/x/sys", []string{"buffer", "daemon", "firmware-sim", "internal/bootclock", "internal/cardlife", "internal/erase", "internal/journal", "internal/linkup", "internal/plugged", "internal/ptytest", "internal/sdnotify", "internal/serialport", "uplink/carrier", "uplink/fileout"}},
	{"github.com/tarm/serial", []string{"internal/serialport"}},
	{"github.com/gomodule/redigo", []string{"uplink/redisout"}},
	{"github.com/pion/dtls/v3", []string{"ingest/coapin"}},
	{"github.com/pion/logging", []string{"ingest/coapin"}},
	{"github.com/Azure/go-amqp", []string{"uplink/amqp1out"}},
	{"github.com/rabbitmq/amqp091-go", []string{"command/overamqp", "uplink/amqpout"}},
	{"go.uber.org/goleak", []string{"ingest/ingesttest", "uplink/uplinktest", "internal/base/leaktest"}},
}

// bench may import everything: it measures others, too.
const bench = "cmd/tidebench"

func TestImportsGoStrictlyDown(t *testing.T) {
	all := load(t)
	packages := all.packages()
	for _, s := range storeys {
		if !slices.ContainsFunc(packages, matches(s.pattern)) {
			t.Errorf("no package matches %q any more: take it out of the floor plan", s.pattern)
		}
	}
	level := make(map[string]int)
	for _, p := range packages {
		var found bool
		if level[p], found = storeyOf(p); !found {
			t.Errorf("%s has no storey: give it one in the floor plan, and only one", p)
		}
	}
	for _, s := range all.sources {
		for _, imported := range s.imports() {
			below, ours := level[imported]
			if ours && !s.test && below >= level[s.dir] {
				t.Errorf("%s imports %s: storey %d may import what is below it, and this is on storey %d",
					s.path, imported, level[s.dir], below)
			}
		}
	}
}

// storeyOf returns the storey of a package, if it has one, and only one.
func storeyOf(p string) (storey int, found bool) {
	for _, s := range storeys {
		if !matches(s.pattern)(p) {
			continue
		}
		if found {
			return 0, false
		}
		storey, found = s.storey, true
	}
	return storey, found
}

func matches(pattern string) func(string) bool {
	return func(p string) bool {
		ok, err := path.Match(pattern, p)
		return ok && err == nil
	}
}

func TestForbiddenImports(t *testing.T) {
	all := load(t)
	for _, rule := range forbidden {
		for _, pattern := range slices.Concat(rule.from, rule.to) {
			if !slices.ContainsFunc(all.packages(), matches(pattern)) {
				t.Errorf("no package matches %q any more: take it out of the rule that says %q", pattern, rule.because)
			}
		}
		for _, s := range all.sources {
			if s.test || !matchesAny(rule.from, s.dir) {
				continue
			}
			for _, imported := range s.imports() {
				if matchesAny(rule.to, imported) {
					t.Errorf("%s imports %s, but %s", s.path, imported, rule.because)
				}
			}
		}
	}
}

func matchesAny(patterns []string, p string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool { return matches(pattern)(p) })
}

func TestDependenciesHaveHomes(t *testing.T) {
	all := load(t)
	used := make(map[string]bool) // dependency + " " + package
	for _, s := range all.sources {
		for _, imported := range s.imports() {
			first, _, _ := strings.Cut(imported, "/")
			if s.test || s.dir == bench || !strings.Contains(first, ".") {
				continue
			}
			dependency, ok := homeOf(imported, s.dir)
			if !ok {
				t.Errorf("%s imports %s, which is not at home there: use the package that it is at home in, or give it a home and say why in docs/decisions", s.path, imported)
			}
			used[dependency+" "+s.dir] = true
		}
	}
	for _, h := range homes {
		for _, p := range h.packages {
			if !used[h.dependency+" "+p] {
				t.Errorf("%s does not import %s any more: take it out of the list", p, h.dependency)
			}
		}
	}
}

func homeOf(imported, dir string) (string, bool) {
	for _, h := range homes {
		if imported == h.dependency || strings.HasPrefix(imported, h.dependency+"/") {
			return h.dependency, slices.Contains(h.packages, dir)
		}
	}
	return "", false
}

// TestOnlySuitesImportTesting keeps the testing package, and the flags that it
// brings, out of the programs.
func TestOnlySuitesImportTesting(t *testing.T) {
	for _, s := range load(t).sources {
		if s.test || strings.HasSuffix(s.dir, "test") {
			continue
		}
		if slices.Contains(s.imports(), "testing") {
			t.Errorf("%s imports testing: only tests and conformance suites may", s.path)
		}
	}
}
