package firmwaresim

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
)

// Step is something that happens to a Link at a certain time.
type Step struct {
	// At is the time since the script began.
	At time.Duration
	// What is the step as it was written: "delay 150ms".
	What  string
	apply func(*Link)
}

// ParseScript reads a script: steps in the order of their times, divided by
// commas or newlines. Text after # is a comment.
//
//	20s cut              connections are reset, new ones too
//	40s restore          ends cut, hangup and blackhole
//	1m  hangup           as cut, but closed politely
//	80s blackhole        connections stay, nothing moves
//	90s delay 150ms      one way
//	90s bandwidth 32kB   bytes a second, each way; 0B: no limit
//	2m  cutafter 100kB   cut after so many more bytes up
func ParseScript(text string) ([]Step, error) {
	var steps []Step
	err := eachStep(text, `such as "20s cut"`, func(at time.Duration, words []string) error {
		apply, err := parseAction(words[0], words[1:])
		steps = append(steps, Step{At: at, What: strings.Join(words, " "), apply: apply})
		return err
	})
	if err != nil {
		return nil, err
	}
	return steps, nil
}

// eachStep reads what all scripts have in common: times in ascending order, each
// with words.
func eachStep(text, example string, step func(at time.Duration, words []string) error) error {
	var last time.Duration
	number := 0
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for part := range strings.SplitSeq(line, ",") {
			fields := strings.Fields(part)
			if len(fields) == 0 {
				continue
			}
			number++
			at, err := time.ParseDuration(fields[0])
			switch {
			case err != nil || at < 0 || len(fields) < 2:
				return fmt.Errorf("step %d: %q is not a time and an action, %s", number, strings.Join(fields, " "), example)
			case at < last:
				return fmt.Errorf("step %d: %v comes after %v", number, at, last)
			}
			last = at
			if err := step(at, fields[1:]); err != nil {
				return fmt.Errorf("step %d: %w", number, err)
			}
		}
	}
	return nil
}

func parseAction(name string, args []string) (func(*Link), error) {
	plain := map[string]func(*Link){
		"cut": (*Link).Cut, "hangup": (*Link).Hangup, "blackhole": (*Link).Blackhole, "restore": (*Link).Restore,
	}
	if apply := plain[name]; apply != nil && len(args) == 0 {
		return apply, nil
	}
	if len(args) != 1 {
		return nil, fmt.Errorf("cannot read %q; actions are cut, hangup, blackhole, restore, delay TIME, "+
			"bandwidth SIZE, cutafter SIZE", strings.Join(append([]string{name}, args...), " "))
	}
	switch name {
	case "delay":
		d, err := time.ParseDuration(args[0])
		return func(l *Link) { l.Delay(d) }, err
	case "bandwidth":
		n, err := parseSize(args[0])
		return func(l *Link) { l.Bandwidth(n) }, err
	case "cutafter":
		n, err := parseSize(args[0])
		return func(l *Link) { l.CutAfter(n) }, err
	}
	return nil, fmt.Errorf("unknown action %q", name)
}

// parseSize reads "32kB"; a bare number is bytes.
func parseSize(text string) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil && n >= 0 {
		return n, nil
	}
	var size conf.Size
	err := size.UnmarshalText([]byte(text))
	return int64(size), err
}

// Play applies the steps at their times, counted from the call, and tells of
// each. It returns when the last step is done or ctx ends.
func (l *Link) Play(ctx context.Context, steps []Step, tell func(Step)) error {
	began := time.Now()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for _, step := range steps {
		timer.Reset(time.Until(began.Add(step.At)))
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
		step.apply(l)
		tell(step)
	}
	return nil
}
