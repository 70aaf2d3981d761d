// Package netcheck decides why nothing arrives: what an error of the network, of a
// clock or of TLS means to somebody who stands in front of the machine, and what
// he may do. Its functions are told what was seen and return a Finding; who looks,
// and over which link, is the caller's business.
//
//	r := netcheck.NewReport(netcheck.LinkQuestions(), tell)
//	r.Begin(netcheck.Name)
//	r.End(netcheck.Name, netcheck.OfName(host, servers, addrs, err))
//	r.Conclude(netcheck.Fine("everything is acknowledged"))
//
// A Report puts findings in their order: it tells each as it begins and ends, and
// closes with one verdict, that of the first step that failed.
package netcheck

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// State is how a step stands.
type State string

// The states. Warn works, but not as it should; Skipped was not tried, because
// something before it failed.
const (
	Running State = "running"
	OK      State = "ok"
	Warn    State = "warn"
	Bad     State = "bad"
	Skipped State = "skipped"
)

// Finding is the answer to one question. Text is a sentence without its full stop,
// Hint what to do, empty for nothing.
type Finding struct {
	State      State
	Text, Hint string
}

// Fine is a Finding that all is well.
func Fine(text string, args ...any) Finding { return Finding{OK, fmt.Sprintf(text, args...), ""} }

// Weak is a Finding of what works, but not as it should.
func Weak(hint, text string, args ...any) Finding {
	return Finding{Warn, fmt.Sprintf(text, args...), hint}
}

// Wrong is a Finding of what is in the way.
func Wrong(hint, text string, args ...any) Finding {
	return Finding{Bad, fmt.Sprintf(text, args...), hint}
}

// Line is what is told of a diagnosis: a step that begins or ends, or, last, the
// verdict. A step may be told again when more is known.
type Line struct {
	// Step names what is looked at, Title asks for it in words.
	Step  string `json:"step,omitempty"`
	Title string `json:"title,omitempty"`
	State State  `json:"state"`
	Text  string `json:"text,omitempty"`
	Hint  string `json:"hint,omitempty"`
	// Millis is how long it took, in milliseconds.
	Millis int64 `json:"ms,omitempty"`
	// Verdict says what is wrong, and behind " — hint: " what to do. Only the last
	// line has one; Step is then the first that failed.
	Verdict string `json:"verdict,omitempty"`
}

// Question is a step of a diagnosis.
type Question struct{ Step, Title string }

// The steps of a link, in their order.
const (
	Held    = "held"
	Way     = "way"
	Name    = "name"
	Connect = "connect"
	Time    = "clock"
	Secure  = "tls"
	Login   = "login"
	Size    = "size"
	Quota   = "quota"
	Ack     = "ack"
)

// LinkQuestions are the steps from a buffer to an acknowledgement.
func LinkQuestions() []Question {
	return []Question{
		{Held, "May readings leave now?"},
		{Way, "Is the way out up?"},
		{Name, "Is the name known?"},
		{Connect, "Does the other side answer?"},
		{Time, "Is the clock right?"},
		{Secure, "Is the encryption in order?"},
		{Login, "Does it let this gateway in?"},
		{Size, "Does it take what is sent?"},
		{Quota, "Has it asked to wait?"},
		{Ack, "Does it acknowledge?"},
	}
}

// The steps of a test reading, in their order; the last is Ack.
const (
	Taken = "taken"
	Flash = "flash"
)

// TestQuestions are the steps of a reading from the intake to an acknowledgement.
func TestQuestions() []Question {
	return []Question{{Taken, "Is it taken in?"}, {Flash, "Is it on flash?"}, {Ack, "Does the other side acknowledge it?"}}
}

// The steps of a door.
const (
	Open     = "open"
	Knock    = "knock"
	Others   = "others"
	Peers    = "peers"
	Whole    = "whole"
	Refused  = "refused"
	Readable = "readable"
	Kept     = "kept"
	Come     = "come"
)

// DoorQuestions are the steps of a door of a kind: mqtt, http, coap, line, serial or
// modbus.
func DoorQuestions(kind string) []Question {
	last := []Question{{Readable, "Can what comes be read?"}, {Kept, "Is it kept?"}, {Come, "Does anything come now?"}}
	switch kind {
	case "serial":
		return append([]Question{{Open, "Is the port there?"}, {Peers, "Do bytes come?"}, {Whole, "Are they whole?"}}, last...)
	case "modbus":
		return append([]Question{{Open, "Can the bus be reached?"}, {Peers, "Do the slaves answer?"}}, last...)
	}
	return append([]Question{
		{Open, "Does it listen?"}, {Knock, "Does it answer?"}, {Others, "Can other machines reach it?"},
		{Peers, "Is anybody connected?"}, {Refused, "Was anybody sent away?"},
	}, last...)
}

// Report tells the steps of a diagnosis. It is safe for concurrent use.
type Report struct {
	tell  func(Line)
	steps []Question

	mu    sync.Mutex
	begun map[string]time.Time
	found map[string]Finding
	over  bool
}

// NewReport returns a Report that hands its lines to tell, one at a time.
func NewReport(steps []Question, tell func(Line)) *Report {
	return &Report{tell: tell, steps: steps, begun: make(map[string]time.Time), found: make(map[string]Finding)}
}

// Begin says that a step is looked at now.
func (r *Report) Begin(step string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.begun[step] = time.Now()
	r.tell(Line{Step: step, Title: r.title(step), State: Running})
}

// End says what was found. A later finding about the same step replaces the first.
func (r *Report) End(step string, f Finding) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over || r.found[step] == f {
		return
	}
	r.found[step] = f
	l := Line{Step: step, Title: r.title(step), State: f.State, Text: sentence(f.Text), Hint: f.Hint}
	if began, ok := r.begun[step]; ok {
		l.Millis = time.Since(began).Milliseconds()
	}
	r.tell(l)
}

// Found returns what was found about a step; its State is empty before that.
func (r *Report) Found(step string) Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.found[step]
}

// Failed reports whether something is in the way.
func (r *Report) Failed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, failed := r.worst()
	return failed
}

// worst is the first step that failed.
func (r *Report) worst() (Question, bool) {
	for _, q := range r.steps {
		if r.found[q.Step].State == Bad {
			return q, true
		}
	}
	return Question{}, false
}

// Conclude tells which steps were not tried, and the verdict: that of the first
// step that failed, or else well. Nothing is told after it.
func (r *Report) Conclude(well Finding) Line {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, q := range r.steps {
		if r.found[q.Step].State == "" {
			r.found[q.Step] = Finding{State: Skipped}
			r.tell(Line{Step: q.Step, Title: q.Title, State: Skipped, Text: "Not tried"})
		}
	}
	worst, failed := r.worst()
	if failed {
		well = r.found[worst.Step]
	}
	verdict := Line{State: well.State, Step: worst.Step, Verdict: sentence(well.Text)}
	if well.Hint != "" {
		verdict.Verdict += " — hint: " + well.Hint
	}
	r.over = true
	r.tell(verdict)
	return verdict
}

func (r *Report) title(step string) string {
	for _, q := range r.steps {
		if q.Step == step {
			return q.Title
		}
	}
	return step
}

// sentence begins a text with a capital letter, if it begins with a word of ours and
// not with a name.
func sentence(text string) string {
	first, _, _ := strings.Cut(text, " ")
	if strings.ContainsAny(first, ".:/_-") || first == "" {
		return text
	}
	return strings.ToUpper(first[:1]) + text[1:]
}

// Cut parts an error from the hint at its end.
func Cut(err error) (what, hint string) {
	what, hint, _ = strings.Cut(err.Error(), " — hint: ")
	return what, hint
}
