package identify

import (
	"cmp"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// half is how long the LED is on, and off.
const half = 250 * time.Millisecond

// blink lets the LED blink until ctx ends, and gives it back as it was: with its
// trigger, and as bright. Documentation/leds/leds-class.rst of Linux has the files.
func (c Config) blink(ctx context.Context) error {
	led := func(file string) string { return filepath.Join(cmp.Or(c.LEDs, "/sys/class/leds"), c.LED, file) }
	triggers, err := os.ReadFile(led("trigger"))
	if err != nil {
		return err
	}
	bright, err := os.ReadFile(led("brightness"))
	if err != nil {
		return err
	}
	full, err := os.ReadFile(led("max_brightness"))
	if err != nil {
		return err
	}
	if err := set(led("trigger"), "none"); err != nil {
		return err
	}
	ticker := time.NewTicker(half)
	defer ticker.Stop()
	for level := string(full); err == nil; <-ticker.C {
		if ctx.Err() != nil {
			break
		}
		if err = set(led("brightness"), strings.TrimSpace(level)); level == "0" {
			level = string(full)
		} else {
			level = "0"
		}
	}
	back := set(led("brightness"), strings.TrimSpace(string(bright)))
	if was := chosen(string(triggers)); was != "none" {
		back = errors.Join(back, set(led("trigger"), was))
	}
	return errors.Join(err, back)
}

// chosen returns the trigger in brackets: "none [mmc0] timer".
func chosen(triggers string) string {
	_, rest, _ := strings.Cut(triggers, "[")
	name, _, ok := strings.Cut(rest, "]")
	if !ok {
		return "none"
	}
	return name
}

// set writes an attribute. It must be there: a file of that name helps nobody.
func set(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}
