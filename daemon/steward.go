package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/ontrial"
)

// texts are the texts of the configuration. They never change, they are replaced.
type texts struct {
	// kept is what the file held when it was last read or written: what a start
	// would run.
	kept string
	// runs is what runs: kept, or what is on trial until ends.
	runs, revision string
	ends           time.Time // zero if nothing is on trial
	wrong          string    // why kept cannot be used, and runs is what ran before
}

// isOnTrial says whether what runs is undone unless somebody keeps it.
func (t *texts) isOnTrial() bool { return !t.ends.IsZero() }

// inEffect notes that a text runs, until ends if it is on trial.
func (d *Daemon) inEffect(kept, runs string, ends time.Time) {
	d.texts.Store(&texts{kept: kept, runs: runs, revision: revision(runs), ends: ends})
}

// revision tells one text from another.
func revision(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

// from takes over the text of the file that the configuration came from. It is for
// the time before Run.
func (d *Daemon) from(file string, text []byte) {
	d.file = file
	d.inEffect(string(text), string(text), time.Time{})
}

// steward changes the configuration: one change after the other, on trial or for
// good.
type steward struct {
	*Daemon
	trial *trial // nil if nothing is on trial
}

// trial is a configuration that is undone unless somebody keeps it.
type trial struct {
	before Config // that ran
	was    *texts
	staged *ontrial.Staged
	by     string
	over   *time.Timer
}

// order is what the steward is to do.
type order struct {
	do   func(ctx, send context.Context, s *steward) error
	done chan error
}

// ask has the steward do something. Once that has begun, it is done, whatever
// becomes of who asked.
func (d *Daemon) ask(ctx context.Context, do func(ctx, send context.Context, s *steward) error) error {
	o := order{do, make(chan error, 1)}
	select {
	case d.orders <- o:
		return <-o.done
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run does what is asked for until ctx ends. What is on trial then is not kept.
func (s *steward) run(ctx, send context.Context) {
	for {
		var over <-chan time.Time
		if s.trial != nil {
			over = s.trial.over.C
		}
		select {
		case o := <-s.orders:
			o.done <- o.do(ctx, send, s)
		case <-over:
			s.expire(ctx, send)
		case <-ctx.Done():
			if s.trial != nil {
				s.trial.over.Stop()
			}
			return
		}
	}
}

var (
	errOnTrial = errors.New(`a configuration is on trial — hint: keep or undo it first, with "tidegate confirm" or "tidegate revert"`)
	errNoTrial = errors.New("no configuration is on trial — hint: its time is over and it was undone, or it was kept or undone already")
	errNoFile  = errors.New("this gateway was started without a file for its configuration")
)

// reload reads the file again and puts it into effect.
func (s *steward) reload(ctx, send context.Context, by string) error {
	if s.trial != nil {
		return errOnTrial
	}
	if s.file == "" {
		return errNoFile
	}
	text, err := ontrial.Read(s.file)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	cfg, err := Parse(s.file, text)
	if err != nil {
		return err
	}
	before := s.current()
	if err := s.change(ctx, send, cfg); err != nil {
		return err
	}
	s.inEffect(string(text), string(text), time.Time{})
	s.rememberGood()
	s.retire(before.cfg)
	s.log.Info("configuration read again", "event", "config_reloaded", "by", by, "revision", revision(string(text)), "changes", strings.Join(before.becoming(s.current()), "; "))
	return nil
}

// retire lets the places go of uplinks that a configuration had and that are no
// more.
func (d *Daemon) retire(before Config) {
	now := d.current()
	for _, u := range before.Uplink.all() {
		if name := u.settings().Name; now.link(name) == nil {
			d.buffer.Retire(name)
		}
	}
}

// errOther means that the configuration is not the one that the caller knows.
var errOther = errors.New("the configuration is not the one any more that you have changed — hint: somebody else was faster; look at it again")

// apply puts a text into effect, on trial for some time.
func (s *steward) apply(ctx, send context.Context, o api.ConfigOrder) error {
	now := s.texts.Load()
	switch {
	case s.trial != nil:
		return errOnTrial
	case s.file == "":
		return errNoFile
	case o.Revision != now.revision:
		return errOther
	}
	cfg, err := Parse(s.file, []byte(o.Text))
	if err != nil {
		return err
	}
	before := s.current()
	if err := s.mayApply(cfg, o.Machine); err != nil {
		return err
	}
	if err := before.cfg.mayBecome(cfg); err != nil {
		return err
	}
	staged, err := s.stage(now.kept, o.Text)
	if err != nil {
		return err
	}
	if err := s.change(ctx, send, cfg); err != nil {
		return err
	}
	s.trial = &trial{before: before.cfg, was: now, staged: staged, by: o.By, over: time.NewTimer(o.Within)}
	s.inEffect(now.kept, o.Text, time.Now().Add(o.Within))
	s.log.Warn("configuration on trial", "event", "config_trial", "by", o.By, "revision", revision(o.Text), "before", o.Revision, "for", o.Within, "changes", strings.Join(before.becoming(s.current()), "; "))
	return nil
}

// stage writes what may be kept beside the file.
func (s *steward) stage(kept, text string) (*ontrial.Staged, error) {
	base := []byte(kept)
	if kept == "" && !exists(s.file) {
		base = nil // defaults ran without any file
	}
	staged, err := ontrial.Stage(s.file, base, []byte(text))
	if errors.Is(err, ontrial.ErrChanged) {
		return nil, fmt.Errorf("%w, and is not what runs — hint: \"tidegate reload\" puts it into effect", err)
	}
	if err != nil {
		return nil, fmt.Errorf("the change could not be kept: %w", err)
	}
	return staged, nil
}

// keep writes what is on trial into the file.
func (s *steward) keep(which, by string) error {
	now := s.texts.Load()
	if s.trial == nil && which == revision(now.kept) {
		return nil // whoever asks twice did not hear the answer
	}
	if s.trial == nil {
		return errNoTrial
	}
	if which != now.revision {
		return errOther
	}
	if err := s.trial.staged.Keep(); err != nil {
		if errors.Is(err, ontrial.ErrChanged) {
			err = fmt.Errorf("%w — hint: somebody else writes there; undo this, read the file again, and try once more", err)
		}
		s.log.Error("configuration not kept: it stays on trial", "by", by, "err", err)
		return fmt.Errorf("not kept: %w", err)
	}
	if err := s.trial.staged.Sync(); err != nil {
		s.log.Error("configuration kept, but a power cut may take that back — hint: see to the disk", "err", err)
	}
	s.retire(s.trial.before)
	s.trial.over.Stop()
	s.trial = nil
	s.inEffect(now.runs, now.runs, time.Time{})
	s.rememberGood()
	s.log.Info("configuration kept", "event", "config_kept", "by", by, "revision", which)
	return nil
}

// undo puts the configuration before the trial into effect again.
func (s *steward) undo(ctx, send context.Context, by string) error {
	if s.trial == nil {
		return errNoTrial
	}
	tried := s.current()
	if err := s.change(ctx, send, s.trial.before); err != nil {
		return err
	}
	s.trial.over.Stop()
	undone, was := s.texts.Load(), s.trial.was
	s.trial = nil
	s.texts.Store(was)
	s.retire(tried.cfg)
	s.log.Warn("configuration undone", "event", "config_undone", "by", by, "revision", undone.revision, "now", was.revision)
	return nil
}

// undoAgain is how long after an undo that did not work the next one is tried.
const undoAgain = 5 * time.Second

// expire undoes what nobody has kept in time.
func (s *steward) expire(ctx, send context.Context) {
	if err := s.undo(ctx, send, "nobody, in time"); err != nil && ctx.Err() == nil {
		s.log.Error("the configuration before the trial cannot be put into effect; it is tried again", "in", undoAgain, "err", err)
		s.trial.over.Reset(undoAgain)
	}
}

// becoming says in sentences what another generation changes.
func (g *generation) becoming(next *generation) (all []string) {
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	for _, d := range next.doorsBut(g) {
		if g.door(d.name) != nil {
			say("the door %s opens anew: who is connected there connects again", d.name)
		} else {
			say("the door %s opens", d.name)
		}
	}
	for _, d := range g.doors {
		if next.door(d.name) == nil {
			say("the door %s closes", d.name)
		}
	}
	for _, l := range next.linksBut(g) {
		if g.link(l.name) != nil {
			say("the uplink %s begins anew: what is on its way is sent again", l.name)
		} else {
			say("the uplink %s is new: unless the name was used before, it is sent all that flash still holds", l.name)
		}
	}
	for _, l := range g.links {
		if next.link(l.name) == nil {
			say("the uplink %s ends: no readings are kept for it any more", l.name)
		}
	}
	switch {
	case next.commands == g.commands:
	case next.commands == nil:
		say("commands are not taken any more")
	case g.commands == nil:
		say("commands are taken")
	default:
		say("who brings commands connects again")
	}
	return all
}

// plan is what a configuration would change, without changing it.
func (d *Daemon) plan(cfg Config) ([]string, error) {
	now := d.current()
	if err := now.cfg.mayBecome(cfg); err != nil {
		return nil, err
	}
	next, err := d.build(cfg, now)
	if err != nil {
		return nil, err
	}
	defer next.discard(now)
	return now.becoming(next), nil
}
