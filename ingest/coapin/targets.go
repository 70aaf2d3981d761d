package coapin

import (
	"slices"
	"strings"
	"sync"

	"github.com/tidegate/tidegate/ingest/route"
)

const (
	// maxTargets is how many paths are remembered, with what they mean, and
	// maxListed how many of them anybody may look at.
	maxTargets = 4096
	maxListed  = 256
	// longTarget is how long a path may be to be remembered, in bytes.
	longTarget = 256
	// reserved is where a server says what it has, RFC 6690.
	reserved = ".well-known/"
)

// targets remembers what paths mean, so that a device that says the same all day
// costs no look at the routes. It is safe for concurrent use.
type targets struct {
	cfg Config

	mu     *sync.Mutex
	known  map[targetKey]*target
	listed map[string]bool // paths that have brought readings
	links  []byte          // them, as they are shown; nil when they have changed
}

type targetKey struct {
	format int // a key of Config.Formats, or noFormat
	user   string
	path   string
}

type target struct {
	path   string
	target route.Target
	used   bool
}

func newTargets(cfg Config) targets {
	return targets{cfg: cfg, mu: new(sync.Mutex), known: make(map[targetKey]*target), listed: make(map[string]bool)}
}

// find returns what the path of a request means; nil if nothing, with words for
// people.
func (t *targets) find(r *request, user string) (_ *target, why string) {
	format := noFormat
	decoder, named := t.cfg.Formats[Format(r.format)]
	if named = named && r.format != noFormat; named {
		format = r.format
	}
	t.mu.Lock()
	known := t.known[targetKey{format, user, string(r.path)}]
	t.mu.Unlock()
	if known != nil {
		return known, ""
	}
	path := string(r.path)
	if why := route.CheckTopic(path); why != "" {
		return nil, "no such path: " + why
	}
	resolved, ok := t.cfg.Routes.ResolveFor(path, user)
	if !ok || strings.HasPrefix(path, reserved) {
		return nil, "no such path"
	}
	if named {
		resolved.Decoder = decoder
	}
	known = &target{path: path, target: resolved}
	if len(path) <= longTarget {
		t.mu.Lock()
		defer t.mu.Unlock()
		if len(t.known) >= maxTargets {
			clear(t.known)
		}
		t.known[targetKey{format, user, path}] = known
	}
	return known, ""
}

// use notes that a path has brought readings.
func (t *targets) use(known *target) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if known.used {
		return
	}
	known.used = true
	if len(known.path) <= longTarget && len(t.listed) < maxListed && !t.listed[known.path] {
		t.listed[known.path], t.links = true, nil
	}
}

// list returns the paths in link format, RFC 6690. Nobody may change the bytes.
func (t *targets) list() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.links != nil {
		return t.links
	}
	b := []byte(`</.well-known/core>;ct=40`)
	var paths []string
	for path := range t.listed {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range paths {
		b = append(b, `,</`...)
		b = appendEscaped(b, path)
		b = append(b, `>;rt="tidegate.readings"`...)
	}
	t.links = b
	return b
}

// appendEscaped appends a path as it stands in a URI.
func appendEscaped(b []byte, path string) []byte {
	const hex = "0123456789ABCDEF"
	for _, c := range []byte(path) {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9'
		if letter || strings.IndexByte("/-._~", c) >= 0 {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}
