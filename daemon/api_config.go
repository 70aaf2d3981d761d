package daemon

import (
	"context"
	"errors"
	"io/fs"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/linediff"
	"github.com/tidegate/tidegate/internal/ontrial"
)

// configuration is an api.Configuration.
type configuration struct{ *Daemon }

// State implements api.Configuration.
func (c configuration) State() api.ConfigState {
	now := c.texts.Load()
	s := api.ConfigState{Path: c.file, Text: now.runs, Revision: now.revision}
	if !now.ends.IsZero() {
		s.Trial = &api.ConfigTrial{Left: max(0, time.Until(now.ends).Seconds()), Kept: now.kept}
		return s
	}
	if c.file != "" {
		tried, err := ontrial.Read(ontrial.Real(c.file) + ontrial.Trial)
		if text := string(tried); err == nil && text != now.runs {
			s.Tried = text
		}
	}
	return s
}

// Check implements api.Configuration.
func (c configuration) Check(ctx context.Context, text string, machine bool) api.ConfigReport {
	report := api.ConfigReport{Problems: []api.ConfigProblem{}, Findings: []api.ConfigFinding{}}
	cfg, err := Parse(c.file, []byte(text))
	var problems conf.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			report.Problems = append(report.Problems, api.ConfigProblem{Line: p.Line, Column: p.Column, Key: p.Key, What: p.What, Hint: p.Hint})
		}
		return report
	}
	if err := c.mayApply(cfg, machine); err != nil { // and may not have it tried, either
		k := &checklist{}
		k.failed(err)
		report.Findings = append(report.Findings, told(k.findings)...)
		return report
	}
	findings := checkChange(ctx, c.current().cfg, cfg)
	if _, err := c.plan(cfg); err != nil {
		k := &checklist{findings: findings}
		k.failed(err)
		findings = k.findings
	}
	report.Findings = append(report.Findings, told(findings)...)
	return report
}

func told(findings []Finding) (all []api.ConfigFinding) {
	for _, f := range findings {
		all = append(all, api.ConfigFinding{Level: [...]string{"ok", "warn", "fail"}[f.Level], What: f.What, Hint: f.Hint})
	}
	return all
}

// mayApply says whether whoever asks may put the configuration into effect.
func (d *Daemon) mayApply(next Config, machine bool) error {
	if machine {
		return nil
	}
	return d.current().cfg.mayBecomeFromAfar(next, d.file)
}

// Plan implements api.Configuration.
func (c configuration) Plan(text string, machine bool) (api.ConfigPlan, error) {
	cfg, err := Parse(c.file, []byte(text))
	if err == nil {
		err = c.mayApply(cfg, machine)
	}
	if err != nil {
		return api.ConfigPlan{}, err
	}
	changes, err := c.plan(cfg)
	if err != nil {
		return api.ConfigPlan{}, err
	}
	if changes == nil {
		changes = []string{}
	}
	return api.ConfigPlan{Diff: linediff.Unified(c.texts.Load().runs, text), Changes: changes}, nil
}

// Carry implements api.Configuration.
func (c configuration) Carry(ctx context.Context, o api.ConfigOrder) error {
	return c.ask(ctx, func(ctx, send context.Context, s *steward) error {
		switch o.Do {
		case "apply":
			return s.apply(ctx, send, o)
		case "confirm":
			return s.keep(o.Revision, o.By)
		case "revert":
			return s.undo(ctx, send, o.By)
		}
		return s.reload(ctx, send, o.By)
	})
}

// trialStatus says until when a configuration is on trial; nil if none is.
func (d *Daemon) trialStatus() *dashboard.Trial {
	now := d.texts.Load()
	if now.ends.IsZero() {
		return nil
	}
	left := max(0, time.Until(now.ends))
	return &dashboard.Trial{Revision: now.revision, Ends: time.Now().Add(left).UnixMilli()}
}

// exists says whether there is something of that name, or may be.
func exists(path string) bool {
	_, err := ontrial.Read(path)
	return !errors.Is(err, fs.ErrNotExist)
}
