package daemon

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/serialport"
	"github.com/tidegate/tidegate/reading"
)

// Bounds of a probe.
const (
	maxProbeListen = time.Minute
	maxProbeBauds  = 32
	shownFrame     = 64 // bytes of a frame
	shownReadings  = 8
)

// probing returns what is asked for, or what makes no sense of it.
func (w *workbench) probing(ask api.SerialProbe) (p serialin.Probing, err error) {
	var send conf.Bytes
	if err := send.UnmarshalText([]byte(ask.Send)); err != nil {
		return p, fmt.Errorf("send: %w", err)
	}
	listen := cmp.Or(time.Duration(ask.Listen)*time.Millisecond, time.Duration(defaultListen))
	if listen < time.Millisecond || listen > maxProbeListen {
		return p, fmt.Errorf("listening for %v at each setting — hint: 1 ms to %v", listen, maxProbeListen)
	}
	if len(ask.Bauds) > maxProbeBauds {
		return p, fmt.Errorf("%d speeds — hint: %d at the most", len(ask.Bauds), maxProbeBauds)
	}
	for _, baud := range ask.Bauds {
		if err := (serialport.Config{Path: "x", Baud: max(baud, 1)}).Check(); err != nil {
			return p, err
		}
	}
	p = serialin.Probing{Bauds: ask.Bauds, Send: send, Listen: listen}
	p.Decoders, err = probers(w.here.settings())
	return p, err
}

// Probe implements api.SerialWork.
func (w *workbench) Probe(ctx context.Context, ask api.SerialProbe, tell func(api.SerialTried) error) error {
	at, err := w.find(ask.SerialPlace, api.SerialSettings{})
	if err != nil {
		return err
	}
	p, err := w.probing(ask)
	if err != nil {
		return api.Invalid(err)
	}
	ctx, _, done, err := w.alone(ctx, at, "probing", ask.SerialPlace)
	if err != nil {
		return err
	}
	defer done()
	p.Port = serialport.Config{Path: at.config.Path, Host: w.host, RTS: at.config.RTS, DTR: at.config.DTR, RS485: at.config.RS485}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	steps := &probeSteps{tell: tell, stop: stop, most: p.Most()}
	if err := tell(api.SerialTried{Of: steps.most, Say: "listening"}); err != nil {
		return err
	}
	p.Heard, p.Refused = steps.hear, steps.refuse
	found, err := serialin.Probe(ctx, p)
	switch {
	case steps.told != nil:
		return steps.told
	case err != nil:
		return ending(ctx, err)
	}
	result := &api.SerialProbed{Found: []api.SerialCandidate{}, Advice: probeAdvice(found, steps.heard, len(p.Send) > 0)}
	for _, c := range found[:min(len(found), shownCandidates)] {
		result.Found = append(result.Found, w.candidate(c, at, p.Send))
	}
	if len(found) > 0 {
		best := result.Found[0]
		result.TOML = best.TOML
		w.remember(at.info, func(f *portFile) { f.probed = &api.SerialReportProbe{At: stamp(), Best: best} })
	}
	return tell(api.SerialTried{Done: steps.tried, Of: max(steps.most, steps.tried), Result: result})
}

// probeSteps tells how far a probe is, and stops it when that cannot be told any more.
type probeSteps struct {
	tell  func(api.SerialTried) error
	stop  context.CancelFunc
	told  error // why it cannot
	heard int   // bytes
	tried int   // steps, of most or a few more
	most  int
}

func (p *probeSteps) step(t api.SerialTried) {
	p.tried++
	t.Done, t.Of = p.tried, max(p.most, p.tried)
	if p.told != nil {
		return
	}
	if p.told = p.tell(t); p.told != nil {
		p.stop()
	}
}

func (p *probeSteps) hear(s serialin.Sample) {
	p.heard += len(s.Data)
	say := fmt.Sprintf("%-11s %4d bytes", s.Port, len(s.Data))
	if s.Damaged > 0 {
		say += fmt.Sprintf(", %d damaged", s.Damaged)
	}
	p.step(api.SerialTried{Say: say, Setting: s.Port.String(), Bytes: len(s.Data), Damaged: s.Damaged})
}

func (p *probeSteps) refuse(c serialport.Config) {
	p.step(api.SerialTried{Say: fmt.Sprintf("%-11s the driver cannot", c), Setting: c.String(), Unable: true})
}

// probeAdvice says what to try when nothing is likely.
func probeAdvice(found []serialin.Candidate, heard int, asked bool) []string {
	switch {
	case len(found) > 0 && found[0].Points >= serialin.Likely:
		return []string{}
	case heard > 0:
		return []string{"something came, and nothing explains it — hint: listen for longer at each setting; what there is to see shows \"tidegate tap\", or listening at the page"}
	case asked:
		return []string{"no answer came, at any speed — hint: is it what the device answers to, with the end that it wants, for example '\\r\\n'? Else look at power, ground, and whether RX and TX are crossed"}
	}
	return []string{"nothing came, at any speed — hint: many devices speak only when asked: send for example 'T?\\r\\n'; else look at power, ground, and whether RX and TX are crossed"}
}

// candidate puts an explanation into words.
func (w *workbench) candidate(c serialin.Candidate, at workplace, send conf.Bytes) api.SerialCandidate {
	out := api.SerialCandidate{
		Setting: c.Sample.Port.String(), Framing: framingOf(c.Framing), Decoder: c.Decoder,
		Points: c.Points, Likely: c.Points >= serialin.Likely, Evidence: c.Evidence(), Readings: samples(c.Readings),
	}
	out.Title = fmt.Sprintf("%s, %s: %d of 100 points", out.Setting, out.Framing, out.Points)
	if len(c.Frames) > 0 {
		out.Frame = c.Frames[0][:min(len(c.Frames[0]), shownFrame)]
	}
	if out.Likely {
		out.TOML = w.proposal(at, c, send)
	}
	return out
}

// samples are the first readings, to be looked at.
func samples(rs []reading.Reading) (all []api.SampleReading) {
	for _, r := range rs[:min(len(rs), shownReadings)] {
		s := api.SampleReading{Device: strings.Clone(r.Device), Metric: strings.Clone(r.Metric), Unit: strings.Clone(r.Unit), Value: plainValue(r.Value)}
		if r.Time != 0 {
			s.At = time.Unix(0, r.Time).UnixMilli()
		}
		all = append(all, s)
	}
	return all
}

// plainValue is the value as JSON has it. What is no number there, and what is too
// long to be looked at, is a text.
func plainValue(v reading.Value) any {
	if v.Kind() == reading.KindBool {
		return v.Bool()
	}
	if n, ok := v.Number(); ok && !math.IsNaN(n) && !math.IsInf(n, 0) {
		return n
	}
	text := []rune(v.String())
	return string(text[:min(len(text), shownFrame)])
}

func framingOf(f frame.Config) string {
	if f.Checksum == frame.None {
		return f.Kind.String()
	}
	return fmt.Sprintf("%s with %s", f.Kind, f.Checksum)
}

// proposal returns a block of the configuration, with what differs from the
// defaults.
func (w *workbench) proposal(at workplace, found serialin.Candidate, send conf.Bytes) string {
	port, best, b := found.Sample.Port, w.lasting(at), new(strings.Builder)
	if at.info.Door != "" {
		fmt.Fprintf(b, "# instead of the block of %s\n", at.info.Door)
	}
	fmt.Fprintf(b, "[[ingest.serial]]\nname = %q\nport = %q\nbaud = %d\n", nameFor(best), best, port.Baud)
	if port.DataBits != 8 {
		fmt.Fprintf(b, "data_bits = %d\n", port.DataBits)
	}
	if port.Parity != serialport.None {
		fmt.Fprintf(b, "parity = %q\n", port.Parity)
	}
	if found.Decoder != "json" {
		fmt.Fprintf(b, "decode = %q\n", found.Decoder)
	}
	if len(send) > 0 {
		fmt.Fprintf(b, "unasked = \"drop\"\n")
	}
	if f := found.Framing; f != (frame.Config{}) {
		fmt.Fprintf(b, "\n[ingest.serial.framing]\nkind = %q\n", f.Kind)
		if f.Checksum != frame.None {
			fmt.Fprintf(b, "checksum = %q\n", f.Checksum)
		}
		if f.Envelope.SumAfterEnd {
			b.WriteString("checksum_after_end = true\n")
		}
	}
	if len(send) > 0 {
		fmt.Fprintf(b, "\n[[ingest.serial.poll]]\nrequest = '%s'\ninterval = \"10s\"\n", strings.ReplaceAll(send.String(), "'", `\x27`))
	}
	return b.String()
}

// lasting is the whole name of the port under which it is found again. A name of the
// user's own is left as it is.
func (w *workbench) lasting(at workplace) string {
	best := at.config.Path
	if whole, err := filepath.Abs(best); err == nil { // it may have been typed in its folder
		best = whole
	}
	if place, err := w.host.Resolve(best); err == nil && place.Kernel && at.info.Configure != "" {
		if whole, err := filepath.Abs(at.info.Configure); err == nil {
			return whole
		}
	}
	return best
}

// nameFor makes a name for a line out of that of its port.
func nameFor(port string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, filepath.Base(port))
	if name = strings.Trim(name[:min(len(name), 64)], "-."); !isName(name) {
		return "line"
	}
	return name
}
