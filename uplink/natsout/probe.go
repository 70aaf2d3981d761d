package natsout

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate/tidegate/uplink/onelink"
)

// lookTimeout is how long a question to JetStream may take. A user who may not ask
// gets no answer.
const lookTimeout = 5 * time.Second

// longWindow is how long re-sends should be known to a stream: an outage may end
// between a message and its answer.
const longWindow = time.Hour

// streamInfo is what $JS.API.STREAM.INFO answers, as far as it matters here.
type streamInfo struct {
	Config struct {
		Name      string        `json:"name"`
		Storage   string        `json:"storage"`
		Retention string        `json:"retention"`
		Discard   string        `json:"discard"`
		Window    time.Duration `json:"duplicate_window"`
		Replicas  int           `json:"num_replicas"`
		MaxSize   int64         `json:"max_msg_size"`
		MaxMsgs   int64         `json:"max_msgs"`
		MaxBytes  int64         `json:"max_bytes"`
		NoAck     bool          `json:"no_ack"`
		Sealed    bool          `json:"sealed"`
	} `json:"config"`
}

// Probe connects and logs in over a connection of its own, publishes nothing, and
// looks for the stream and for what its word is worth. What is to be cautious of
// stands on lines of its own, see uplink.Prober.
func (s *Sink) Probe(ctx context.Context) (string, error) {
	l, err := s.open(ctx)
	if err != nil {
		return "", s.named(err)
	}
	defer l.Close()
	release := context.AfterFunc(ctx, func() { l.Wire.Close() })
	defer release()
	about := "nats-server " + strings.Trim(onelink.Quote(l.Info.Version), `"`)
	stream, err := l.look(ctx)
	switch {
	case errors.Is(err, errNotAllowed):
		return about + ", " + s.cfg.Subject.String() + " (not allowed to look at its stream)", nil
	case err != nil:
		return "", s.named(err)
	}
	c := stream.Config
	about += fmt.Sprintf(", stream %s for %s, in %s, %d of it", c.Name, s.cfg.Subject, c.Storage, max(c.Replicas, 1))
	return strings.Join(append([]string{about}, stream.cautions()...), "\n"), nil
}

// cautions are what a stream's word is not worth.
func (s streamInfo) cautions() (all []string) {
	c := s.Config
	add := func(hint, what string) {
		all = append(all, fmt.Sprintf("the stream %s %s — hint: %s", c.Name, what, hint))
	}
	if c.Storage == "memory" {
		add("nats stream add with --storage file", "is kept in memory: what it has confirmed is lost when its server restarts")
	}
	if c.Window < longWindow {
		add(fmt.Sprintf("nats stream edit %s --dupe-window 1h; receivers that count by numbers need no window", c.Name),
			fmt.Sprintf("knows re-sends for %v only: what is sent again after a longer outage is there twice", c.Window))
	}
	if c.Retention == "interest" {
		add("use --retention limits", "keeps only what somebody has a consumer for: the rest is confirmed and gone")
	}
	if c.Discard == "old" && (c.MaxMsgs > 0 || c.MaxBytes > 0) {
		add(fmt.Sprintf("nats stream edit %s --discard new, and readings wait in the gateway instead", c.Name), "throws away its oldest messages when it is full, read or not")
	}
	return all
}

var errNotAllowed = errors.New("not allowed to ask JetStream")

// look finds the stream that takes the subject.
func (l *link) look(ctx context.Context) (streamInfo, error) {
	var none, info streamInfo
	filter := wildcard(l.cfg.Subject.String())
	var found struct {
		Streams []string `json:"streams"`
	}
	question, err := json.Marshal(map[string]string{"subject": filter})
	if err != nil {
		return none, err
	}
	if err := l.ask(ctx, "STREAM.NAMES", question, &found); err != nil {
		return none, err
	}
	name := l.cfg.Stream
	switch {
	case len(found.Streams) == 0:
		return none, judgeAnswer("503", nil, answer{subject: filter}, "")
	case name == "":
		name = found.Streams[0]
	}
	if err := l.ask(ctx, "STREAM.INFO."+name, nil, &info); err != nil {
		return none, err
	}
	switch {
	case info.Config.NoAck:
		return none, classed(fmt.Errorf("the stream %s confirms nothing (no_ack)", onelink.Quote(name)), configured, "use a stream that does: tidegate would send for ever", 0)
	case info.Config.Sealed:
		return none, refusal(10109, "the stream is sealed", 0)
	}
	return info, nil
}

// ask puts a question to JetStream's API.
func (l *link) ask(ctx context.Context, what string, question []byte, into any) error {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	reply, err := l.request(ctx, "$JS.API."+what, question)
	switch {
	case errors.Is(err, errSilent):
		return errNotAllowed
	case err != nil:
		return err
	case reply.status == "503":
		return refusal(10076, "JetStream not enabled", 0)
	}
	var c confirmation
	if err := json.Unmarshal(reply.body, &c); err == nil && c.Error != nil {
		return refusal(c.Error.ErrCode, c.Error.Description, 0)
	}
	if err := json.Unmarshal(reply.body, into); err != nil {
		return fmt.Errorf("JetStream's answer to %s: %w — hint: something else answers on its subjects", what, err)
	}
	return nil
}

// wildcard is the subject with a wildcard for every token that messages fill in.
func wildcard(subject string) string {
	tokens := strings.Split(subject, ".")
	for i, t := range tokens {
		if strings.Contains(t, "{") {
			tokens[i] = "*"
		}
	}
	return strings.Join(tokens, ".")
}
