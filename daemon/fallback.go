package daemon

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"

	"github.com/tidegate/tidegate/internal/base/whole"
	"github.com/tidegate/tidegate/internal/ontrial"
)

// A gateway far away that does not start because of a typo, or because a power cut came
// while somebody saved the file, costs a journey. So with -fallback, which the unit has,
// the text that ran last is kept beside the readings, and a start runs it when the file
// cannot be used, and says so wherever people look.

// goodFile is the name of that text in the data folder.
const goodFile = "config.good"

// good is where the text is kept; empty if it is not.
func (c *call) good(cfg Config) string {
	if !c.fallback {
		return ""
	}
	return filepath.Join(cfg.Gateway.DataDir, goodFile)
}

// errEmpty means that the file says nothing.
var errEmpty = errors.New("the configuration is empty, or gone — hint: \"tidegate config\" prints one with every default")

// build makes the gateway of the configuration, or of the one that ran last if that
// cannot be used.
func (c *call) build() (*Daemon, error) {
	m := new(maker)
	cfg, text, err := c.loadText()
	if err == nil && c.fallback && len(bytes.TrimSpace(text)) == 0 {
		err = errEmpty
	}
	if err == nil {
		var d *Daemon
		if d, err = m.make(cfg, logger(cfg.Log, c.stderr)); err == nil {
			d.good = c.good(cfg)
			d.from(c.file, text)
			d.rememberGood()
			return d, nil
		}
	}
	if !c.fallback {
		return nil, err
	}
	if d := c.fallBack(m, err, text); d != nil {
		return d, nil
	}
	if errors.Is(err, errEmpty) {
		d, err := m.make(cfg, logger(cfg.Log, c.stderr)) // the first start of all
		if err != nil {
			return nil, err
		}
		d.from(c.file, text)
		return d, nil
	}
	return nil, err
}

// fallBack makes the gateway of the text that ran last; nil if there is none, or it
// cannot be used, either. What is wrong with the file is why, and its text is wrong.
func (c *call) fallBack(m *maker, why error, wrong []byte) *Daemon {
	cfg := Default()
	_ = understand(c.file, wrong, &cfg)
	good := c.good(cfg)
	text, err := ontrial.Read(good)
	if err != nil || bytes.Equal(text, wrong) {
		return nil
	}
	if cfg, err = Parse(good, text); err != nil {
		return nil
	}
	d, err := m.make(cfg, logger(cfg.Log, c.stderr))
	if err != nil {
		return nil
	}
	d.good, d.file = good, c.file
	d.texts.Store(&texts{kept: string(wrong), runs: string(text), revision: revision(string(text)), wrong: oneLine(why.Error())})
	d.log.Error("the configuration cannot be used, and the one that ran last runs instead", "file", c.file, "err", oneLine(why.Error()))
	return d
}

// oneLine is a text for people in a line.
func oneLine(text string) string {
	return strings.Join(strings.Fields(strings.ReplaceAll(text, "\n    hint: ", " — hint: ")), " ")
}

// fallen says that the configuration cannot be used, and what runs; nothing if it can.
func (d *Daemon) fallen() []string {
	if wrong := d.texts.Load().wrong; wrong != "" {
		return []string{"runs the last good configuration, because the file cannot be used: " + wrong}
	}
	return nil
}

// rememberGood keeps the text that runs, unless it is there already, or on trial.
func (d *Daemon) rememberGood() {
	now := d.texts.Load()
	if d.good == "" || now.isOnTrial() || strings.TrimSpace(now.runs) == "" {
		return
	}
	if was, err := ontrial.Read(d.good); err == nil && string(was) == now.runs {
		return
	}
	if err := whole.Write(d.good, []byte(now.runs), whole.Mine(0o600)); err != nil {
		d.log.Warn("the configuration that runs is not kept for a start with one that cannot be used", "err", err)
	}
}
