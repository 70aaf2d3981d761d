package daemon

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/netcheck"
)

// commands looks at the way down: whether there is anything to do, whether its
// secrets can be read, and whether the other sides let the gateway in.
func (k *checklist) commands(ctx context.Context, c Config) {
	all := c.Command.all()
	switch {
	case len(all) == 0 && len(c.Command.Allow) > 0:
		k.ok("commands: only the operator of this gateway can give them")
		return
	case len(all) == 0:
		return
	case len(c.Command.Allow) == 0:
		k.warn(`write for example allow = ["dev/+/set"] below [command]`, "commands are to come, and none is allowed: they are off")
		return
	}
	if file := c.Command.KeyFile; file == "" {
		k.warn("set command.key_file, and sign commands with it", "commands need no signature: whoever runs the other side can give them")
	} else if _, err := command.ReadKeys(file); err != nil {
		what, hint := netcheck.Cut(err)
		k.fail(cmp.Or(hint, "check the path, and who may read the file"), "%s", what)
	} else {
		k.openToAll("commands", file)
	}
	network := k.network(c)
	parts := k.parts(len(all))
	var looking sync.WaitGroup
	for i, d := range all {
		looking.Go(func() { parts[i].comeDown(ctx, c.Gateway, network, d) })
	}
	looking.Wait()
	for _, part := range parts {
		k.findings = append(k.findings, part.findings...)
	}
}

// comeDown logs in as a courier would, and takes nothing.
func (k *checklist) comeDown(ctx context.Context, g Gateway, n network, d downstream) {
	b := d.below()
	fault := func(level Level, err error) {
		what, hint := netcheck.Cut(err)
		hint = cmp.Or(hint, "check the link and the name; commands wait on the other side until it answers")
		k.findings = append(k.findings, Finding{level, fmt.Sprintf("commands from %s: %s", b.Name, what), hint})
	}
	var files []string
	if keeper, ok := d.wayDown.(secretKeeper); ok {
		files = keeper.secretFiles()
	}
	for _, file := range files {
		if file == "" {
			continue
		}
		if _, err := conf.ReadSecret(file); err != nil && k.offline {
			fault(Fail, err) // otherwise, logging in tells
		} else {
			k.openToAll("commands from "+b.Name, file)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	log := slog.New(slog.DiscardHandler)
	gateway, err := g.Identity()
	if err != nil {
		return // said already
	}
	secure, err := b.tlsClient(time.Time{}, log)
	if err != nil {
		fault(Fail, err)
		return
	}
	if k.offline {
		return
	}
	courier, err := d.courier(way{gateway: gateway, dial: n.path(b.Links, nil, log).Dial, tls: secure, log: log})
	if err != nil {
		fault(Fail, err)
		return
	}
	prober, ok := courier.(interface {
		Probe(ctx context.Context) (string, error)
	})
	if !ok {
		return
	}
	about, err := prober.Probe(ctx)
	if err != nil {
		fault(Warn, err)
		return
	}
	k.ok("commands from %s: %s", b.Name, about)
}
