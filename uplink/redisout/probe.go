package redisout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/uplink"
	"github.com/tidegate/tidegate/uplink/onelink"
)

// Probe connects and logs in as Send would, and reads what is known of the server:
// above all, whether what it acknowledges outlives it. What may be lost
// has a line of its own, with a hint.
func (s *Sink) Probe(ctx context.Context) (string, error) {
	l, err := s.seat.Get(ctx, s.open)
	if err != nil {
		return "", fmt.Errorf("probe redis at %s: %w", s.cfg.Address, err)
	}
	p := &profile{stream: s.fixedStream()}
	if err := l.ask(ctx, p.questions(), func(reply any, err error) error { return l.judged(p.note(reply, err)) }); err != nil {
		return "", fmt.Errorf("probe redis at %s: %w", s.cfg.Address, err)
	}
	text, err := p.describe(s.cfg)
	if err != nil {
		return "", fmt.Errorf("probe redis at %s: %w", s.cfg.Address, err)
	}
	return text, nil
}

// fixedStream returns the stream's name, or "" if it depends on messages.
func (s *Sink) fixedStream() string {
	name := s.cfg.Stream.Expand(uplink.Message{}, uplink.Part{}, func(string) string { return "\x00" })
	if strings.Contains(name, "\x00") {
		return ""
	}
	return name
}

// profile is what a server tells of itself.
type profile struct {
	stream string
	info   map[string]string // of INFO
	config map[string]string // of CONFIG GET
	kind   string            // of the stream's key: "stream", or "none" if there is none
	asked  int               // answers that have come
}

// settings are those of CONFIG that are of interest.
func settings() []string { return []string{"appendonly", "appendfsync", "save"} }

// sections are those of INFO.
func sections() []string { return []string{"server", "persistence", "replication", "memory"} }

func (p *profile) questions() (all []command) {
	for _, s := range sections() {
		all = append(all, command{"INFO", []any{s}})
	}
	for _, s := range settings() {
		all = append(all, command{"CONFIG", []any{"GET", s}})
	}
	if p.stream != "" {
		all = append(all, command{"TYPE", []any{p.stream}})
	}
	return all
}

// note takes the next answer. Whoever may not ask learns less.
func (p *profile) note(reply any, err error) error {
	if p.info == nil {
		p.info, p.config = make(map[string]string), make(map[string]string)
	}
	i := p.asked
	p.asked++
	switch {
	case err != nil && !mute(err):
		return err
	case err != nil:
	case i < len(sections()):
		text, _ := reply.([]byte)
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				p.info[name] = value
			}
		}
	case i < len(sections())+len(settings()):
		if pair, ok := reply.([]any); ok && len(pair) == 2 {
			p.config[settings()[i-len(sections())]] = setting(reply)
		}
	default:
		p.kind, _ = reply.(string)
	}
	return nil
}

func (p *profile) describe(cfg Config) (string, error) {
	switch {
	case p.kind != "" && p.kind != "stream" && p.kind != "none":
		return "", uplink.Misconfigured(fmt.Errorf("the key %s is a %s — hint: choose another stream", onelink.Quote(p.stream), p.kind))
	case p.info["role"] == "slave":
		return "", errors.New("this is a replica — hint: set the url to the server that takes writes")
	}
	parts := []string{p.name()}
	if cfg.DB != 0 {
		parts = append(parts, fmt.Sprintf("database %d", cfg.DB))
	}
	if p.stream != "" {
		parts = append(parts, "stream "+p.stream)
	}
	var cautions []string
	caution := func(what, hint string) { cautions = append(cautions, "\n"+what+" — hint: "+hint) }
	durable, hint := p.durability()
	if hint == "" {
		parts = append(parts, durable)
	} else {
		caution(durable, hint)
	}
	if policy := p.info["maxmemory_policy"]; strings.HasPrefix(policy, "allkeys-") && p.info["maxmemory"] != "0" {
		caution("deletes streams when its memory is full (maxmemory-policy "+policy+")", "set maxmemory-policy noeviction, or volatile-*")
	}
	if cfg.MaxLen > 0 || cfg.MaxAge > 0 {
		caution("the stream is trimmed", "what nobody has read before it is trimmed is lost; let the reader trim")
	}
	return strings.Join(parts, ", ") + strings.Join(cautions, ""), nil
}

func (p *profile) name() string {
	for _, server := range [][2]string{{"dragonfly_version", "Dragonfly "}, {"valkey_version", "Valkey "}, {"redis_version", "Redis "}} {
		if version := p.info[server[0]]; version != "" {
			return server[1] + strings.TrimPrefix(version, "df-v")
		}
	}
	return "a server of unknown kind"
}

// durability says what an acknowledgement is worth, and what may be done about it.
func (p *profile) durability() (text, hint string) {
	appends, known := p.config["appendonly"]
	if !known {
		appends, known = map[string]string{"1": "yes", "0": "no"}[p.info["aof_enabled"]], p.info["aof_enabled"] != ""
	}
	save, snapshots := p.config["save"]
	switch fsync := p.config["appendfsync"]; {
	case !known:
		return "whether it persists is unknown", "let this user read INFO and CONFIG GET, or ask who runs the server"
	case appends == "yes" && p.info["aof_last_write_status"] == "err":
		return "its append-only file cannot be written", "look after the server's disk"
	case appends == "yes" && fsync == "always":
		return "persistent: every entry is on disk before its id is told", ""
	case appends == "yes" && fsync == "":
		return "persistent, appendfsync unknown", "let this user read CONFIG GET"
	case appends == "yes":
		return "persistent, with appendfsync " + fsync, "a power cut there loses " + lost(fsync) + " of what was acknowledged; set appendfsync always, or wait_disk"
	case snapshots && save == "":
		return "NOT persistent", "what it acknowledges is lost when it ends; set appendonly yes and appendfsync always"
	}
	return "persistent by snapshots only", "what it acknowledges after the last one is lost when it is killed; set appendonly yes and appendfsync always"
}

func lost(fsync string) string {
	if slices.Contains([]string{"no", "never"}, fsync) {
		return "the last half minute"
	}
	return "the last second"
}
