package daemon

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest"
	"github.com/tidegate/tidegate/internal/serialport"
	"github.com/tidegate/tidegate/reading"
)

// maxFiles is of how many ports it is known what was done there.
const maxFiles = 16

// portFile is what was done at a port since the gateway started.
type portFile struct {
	info     api.SerialPort
	identity serialport.Identity
	listened *api.SerialReportListen
	probed   *api.SerialReportProbe
	scanned  *api.SerialReportScan
}

// stamp is the time, as a report has it.
func stamp() string { return time.Now().UTC().Format(time.RFC3339) }

// remember notes what was done at a port. Another device in the same socket is
// another port.
func (w *workbench) remember(info api.SerialPort, note func(*portFile)) {
	var identity serialport.Identity
	if place, err := w.host.Resolve(info.Device); err == nil {
		identity = place.Identity
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.IndexFunc(w.known, func(f *portFile) bool { return f.info.Configure == info.Configure && f.identity.Same(identity) })
	f := &portFile{}
	if i >= 0 {
		f = w.known[i]
		w.known = slices.Delete(w.known, i, i+1)
	}
	f.info, f.identity = info, identity
	f.info.UsedBy, f.info.Task = "", ""
	note(f)
	if w.known = append(w.known, f); len(w.known) > maxFiles {
		w.known = w.known[1:]
	}
}

// recall returns what was done at a port that has one of these names.
func (w *workbench) recall(name string) (portFile, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range slices.Backward(w.known) {
		if slices.Contains([]string{f.info.Configure, f.info.Device, f.info.ByID, f.info.ByPath}, name) {
			return *f, true
		}
	}
	return portFile{}, false
}

// Report implements api.SerialPorts.
func (w *workbench) Report(port string) (api.SerialReport, error) {
	if port == "" {
		return api.SerialReport{}, api.Invalid(errors.New("of which port? — hint: \"tidegate ports\" lists them"))
	}
	r := api.SerialReport{Time: stamp(), Clock: clockState().String(), Gateway: w.here.gatewayID(), Version: Version}
	info, err := w.portOf(port)
	name := port
	if err == nil {
		r.Port, name = info, info.Configure
	}
	f, known := w.recall(name)
	if err != nil {
		if !known {
			return r, err
		}
		r.Port, r.Gone = f.info, true
	}
	if known {
		r.Listened, r.Probed, r.Scanned = f.listened, f.probed, f.scanned
	}
	if place, err := w.host.Resolve(r.Port.Device); err == nil {
		f.identity = place.Identity
	}
	if f.identity != (serialport.Identity{}) {
		r.Identity = f.identity.String()
	}
	r.Door = w.doorReport(r.Port.Door)
	return r, nil
}

// doorReport is what the door does that is at the port, nil if none is.
func (w *workbench) doorReport(name string) *api.SerialReportDoor {
	cfg := w.here.settings()
	i := slices.IndexFunc(cfg.portDoors(), func(d portDoor) bool { return d.name == name })
	if name == "" || i < 0 {
		return nil
	}
	r := &api.SerialReportDoor{Name: name, State: "does not run", Settings: cfg.portDoors()[i].port.String(), Readings: []api.SampleReading{}}
	for _, s := range cfg.Ingest.Serial {
		if s.doorName() == name {
			r.Framing, r.Decoder = s.Framing.String(), s.Decode
		}
	}
	switch line := w.here.line(name); {
	case line != nil:
		st := line.Stats()
		counts := countsOf(st)
		r.State, r.Trouble, r.Line = st.State, st.Trouble, &counts
	case w.here.runs(name):
		r.State = "runs"
	}
	if w.resting(name) {
		r.State = pausedState
	}
	r.Readings = append(r.Readings, w.sampled(name)...)
	return r
}

// sampleEvery is how often the readings of a door are looked at.
const sampleEvery = time.Second

// sampling shows readings to whoever watches, and keeps the last one of some series.
// Between two looks it costs a load.
type sampling struct {
	live ingest.Live
	next atomic.Int64 // when to look, in nanoseconds since the Unix epoch
	mu   sync.Mutex
	last []api.SampleReading
}

// Publish implements ingest.Live.
func (s *sampling) Publish(rs []reading.Reading) {
	s.live.Publish(rs)
	now := time.Now().UnixNano()
	if len(rs) == 0 || now < s.next.Load() {
		return
	}
	s.next.Store(now + int64(sampleEvery))
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range samples(rs) {
		s.last = slices.DeleteFunc(s.last, func(old api.SampleReading) bool { return old.Device == r.Device && old.Metric == r.Metric })
		if s.last = append(s.last, r); len(s.last) > shownReadings {
			s.last = slices.Delete(s.last, 0, 1)
		}
	}
}

// sampling is live, and keeps some of what the door brings if it is one at a line.
// Another door of that name keeps it there, too.
func (w *workbench) sampling(door string, live ingest.Live) ingest.Live {
	if !strings.HasPrefix(door, "serial:") && !strings.HasPrefix(door, "modbus:") {
		return live
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sample[door] == nil {
		w.sample[door] = &sampling{live: live}
	}
	return w.sample[door]
}

// sampled are the last readings of a door.
func (w *workbench) sampled(door string) []api.SampleReading {
	w.mu.Lock()
	s := w.sample[door]
	w.mu.Unlock()
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.last)
}
