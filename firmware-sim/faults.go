package firmwaresim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Faults is what goes wrong between a device and a gateway. Shares are from 0,
// never, to 1, with every frame. The zero value is a device without faults.
//
// Its text form is words divided by commas, each with a share in percent; a word
// alone means 100 %:
//
//	split            frames are written in two to four pieces
//	merge 20%        the frame waits and is written together with the next one
//	noise 1%         1 to 16 random bytes come before the frame
//	corrupt 1%       one bit of the frame is flipped
//	drop 0.5%        the frame is not sent at all
//	duplicate 1%     the frame is sent twice
//	stuck 10%        the sample repeats the values of the one before
//	pause 5%x200ms   the line is silent for so long in the middle of the frame
//	clock1970        the device's clock began in 1970 when the device did
type Faults struct {
	Split, Merge, Noise, Corrupt, Drop, Duplicate, Stuck, Pause float64
	// PauseFor is how long a pause is.
	PauseFor time.Duration
	// Clock1970 makes times begin at the epoch.
	Clock1970 bool
}

// clock1970 is the word for Faults.Clock1970, which has no share.
const clock1970 = "clock1970"

// faultWord is a word of a text form and the numbers that it sets.
type faultWord struct {
	word  string
	share *float64
	lasts *time.Duration // nil: it has no duration
}

func (f *Faults) words() []faultWord {
	return []faultWord{
		{"split", &f.Split, nil}, {"merge", &f.Merge, nil}, {"noise", &f.Noise, nil}, {"corrupt", &f.Corrupt, nil},
		{"drop", &f.Drop, nil}, {"duplicate", &f.Duplicate, nil}, {"stuck", &f.Stuck, nil},
		{"pause", &f.Pause, &f.PauseFor},
	}
}

// ParseFaults reads the text form.
func ParseFaults(text string) (Faults, error) {
	var f Faults
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == clock1970 {
			f.Clock1970 = true
		} else if part != "" {
			if err := parseFault(part, f.words(), clock1970); err != nil {
				return Faults{}, err
			}
		}
	}
	return f, nil
}

// String returns the text form, which ParseFaults reads.
func (f Faults) String() string {
	text := faultText(f.words())
	if f.Clock1970 {
		text = append(text, clock1970)
	}
	return strings.Join(text, ", ")
}

// MarshalText returns the text form.
func (f Faults) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads the text form.
func (f *Faults) UnmarshalText(text []byte) (err error) {
	*f, err = ParseFaults(string(text))
	return err
}

// only returns an error if f has any fault but those that are possible.
func (f Faults) only(where string, possible ...string) error {
	for _, w := range f.words() {
		if *w.share > 0 && !slices.Contains(possible, w.word) {
			return fmt.Errorf("fault %q cannot happen %s — hint: possible are %s", w.word, where, strings.Join(possible, ", "))
		}
	}
	if f.Clock1970 && !slices.Contains(possible, clock1970) {
		return fmt.Errorf("fault %q cannot happen %s — hint: possible are %s", clock1970, where, strings.Join(possible, ", "))
	}
	return nil
}

// parseFault reads "pause 5%x200ms" into the words; others are known, too, and
// only named.
func parseFault(text string, words []faultWord, others ...string) error {
	name, amount, _ := strings.Cut(text, " ")
	for _, w := range words {
		if w.word == name {
			return w.parse(text, strings.ReplaceAll(amount, " ", ""))
		}
	}
	known := make([]string, 0, len(words)+len(others))
	for _, w := range words {
		known = append(known, w.word)
	}
	return fmt.Errorf("%q is no fault — hint: there are %s", text, strings.Join(append(known, others...), ", "))
}

func (w faultWord) parse(text, amount string) error {
	percent, duration, lasts := strings.Cut(amount, "x")
	*w.share = 1
	if percent != "" {
		number, isShare := strings.CutSuffix(percent, "%")
		share, err := strconv.ParseFloat(number, 64)
		if err != nil || !isShare || !(share >= 0 && share <= 100) {
			return fmt.Errorf("%q has no share — hint: write %q", text, w.word+" 1%")
		}
		*w.share = share / 100
	}
	if lasts != (w.lasts != nil) {
		if lasts {
			return fmt.Errorf("%q has a duration, and %s takes none", text, w.word)
		}
		return fmt.Errorf("%q has no duration — hint: write %q", text, w.word+" 5%x200ms")
	}
	if !lasts {
		return nil
	}
	d, err := time.ParseDuration(duration)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q: %q is no duration — hint: write %q", text, duration, w.word+" 5%x200ms")
	}
	*w.lasts = d
	return nil
}

// faultText writes the words whose share is not zero.
func faultText(words []faultWord) []string {
	var text []string
	for _, w := range words {
		if *w.share <= 0 {
			continue
		}
		entry := w.word
		if *w.share < 1 || w.lasts != nil {
			entry += " " + strconv.FormatFloat(*w.share*100, 'g', 12, 64) + "%"
		}
		if w.lasts != nil {
			entry += "x" + w.lasts.String()
		}
		text = append(text, entry)
	}
	return text
}
