package daemon

import (
	"cmp"
	"context"
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

// comeDown looks at the secrets of a way down, and logs in as a courier would.
func (k *checklist) comeDown(ctx context.Context, g Gateway, n network, d downstream) {
	k.secretsDown(d)
	b, log := d.below(), slog.New(slog.DiscardHandler)
	gateway, err := g.Identity()
	if err != nil {
		return // said already
	}
	secure, err := b.tlsClient(time.Time{}, log)
	if err != nil {
		k.faultDown(Fail, b.Name, err)
		return
	}
	if k.offline {
		return
	}
	courier, err := d.courier(way{gateway: gateway, dial: n.path(b.Links, nil, log).Dial, tls: secure, log: log})
	if err != nil {
		k.faultDown(Fail, b.Name, err)
		return
	}
	k.probeDown(ctx, b.Name, courier)
}

// secretsDown looks at the files with the secrets of a way down.
func (k *checklist) secretsDown(d downstream) {
	keeper, ok := d.wayDown.(secretKeeper)
	if !ok {
		return
	}
	name := d.below().Name
	for _, file := range keeper.secretFiles() {
		if file == "" {
			continue
		}
		if _, err := conf.ReadSecret(file); err != nil && k.offline {
			k.faultDown(Fail, name, err) // otherwise, logging in tells
		} else {
			k.openToAll("commands from "+name, file)
		}
	}
}

// probeDown logs in, and takes nothing. A courier that cannot be asked says nothing.
func (k *checklist) probeDown(ctx context.Context, name string, courier command.Courier) {
	prober, ok := courier.(interface {
		Probe(ctx context.Context) (string, error)
	})
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	about, err := prober.Probe(ctx)
	if err != nil {
		k.faultDown(Warn, name, err)
		return
	}
	k.ok("commands from %s: %s", name, about)
}

// faultDown notes an error of a way down, with its hint if it has one.
func (k *checklist) faultDown(level Level, name string, err error) {
	what, hint := netcheck.Cut(err)
	hint = cmp.Or(hint, "check the link and the name; commands wait on the other side until it answers")
	k.findings = append(k.findings, Finding{level, "commands from " + name + ": " + what, hint})
}
