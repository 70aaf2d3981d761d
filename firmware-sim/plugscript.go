package firmwaresim

import (
	"fmt"
	"strings"
	"time"
)

// PlugStep is something that happens to the plug of a SerialDevice.
type PlugStep struct {
	// At is the time since Run began.
	At time.Duration
	// Out says that the plug is pulled; else it is put in again.
	Out bool
}

// ParsePlugScript reads a script: steps in the order of their times, divided by
// commas or newlines. Text after # is a comment.
//
//	10s unplug    in the middle of a frame
//	12s replug    as another terminal under the same name
func ParsePlugScript(text string) ([]PlugStep, error) {
	var steps []PlugStep
	err := eachStep(text, `such as "10s unplug"`, func(at time.Duration, words []string) error {
		out := words[0] == "unplug"
		if len(words) > 1 || !out && words[0] != "replug" {
			return fmt.Errorf("unknown action %q — hint: there are unplug and replug", strings.Join(words, " "))
		}
		steps = append(steps, PlugStep{at, out})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return steps, nil
}
