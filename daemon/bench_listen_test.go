package daemon

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/serialport"
)

func TestPortsAreWatchedWhileSomebodyLooks(t *testing.T) {
	pb := newPortBench(t)
	pb.plug("ttyUSB0", "ONE")
	b := newBench(t, pb, "")
	resp, err := http.Get(b.url + "/api/v1/serial/ports")
	b.must(err)
	resp.Body.Close()
	again, err := http.NewRequest(http.MethodGet, b.url+"/api/v1/serial/ports", nil)
	b.must(err)
	again.Header.Set("If-None-Match", resp.Header.Get("ETag"))
	unchanged, err := http.DefaultClient.Do(again)
	b.must(err)
	unchanged.Body.Close()
	if resp.StatusCode != http.StatusOK || unchanged.StatusCode != http.StatusNotModified {
		t.Errorf("%s, and again %s", resp.Status, unchanged.Status)
	}
	watch, err := http.Get(b.url + "/api/v1/serial/ports?watch")
	b.must(err)
	defer watch.Body.Close()
	s := &stream{t, func() {}, watch.StatusCode, bufio.NewScanner(watch.Body)}
	has := func(n int, last string) func(api.SerialPortList) bool {
		return func(l api.SerialPortList) bool { return len(l.Ports) == n && l.Ports[n-1].Serial == last }
	}
	until(s, "one port", has(1, "ONE"))
	_, two := pb.plug("ttyUSB1", "TWO")
	if l := until(s, "two ports", has(2, "TWO")); l.Ports[1].Configure != two || l.Ports[1].Driver != "" {
		t.Errorf("%+v", l.Ports[1])
	}
	pb.unplug("ttyUSB1", "TWO")
	until(s, "one port again", has(1, "ONE"))
}

func TestListeningToAFreePort(t *testing.T) {
	pb := newPortBench(t)
	device, byID := pb.plug("ttyUSB0", "ONE")
	b := newBench(t, pb, "")
	s := b.ask("/api/v1/serial/listen", api.SerialListen{SerialPlace: api.SerialPlace{Port: byID}, SerialSettings: api.SerialSettings{Baud: 19200, Format: "7E1"}, Checksum: "nmea"})
	if first := until(s, "the first line", func(api.SerialHeard) bool { return true }); first.Settings != "19200 7E1" {
		t.Errorf("%+v", first)
	}
	io.WriteString(pb.devices["ttyUSB0"], "$A*41\r\n$A*42\r\n")
	var text []byte
	heard := until(s, "both sentences", func(h api.SerialHeard) bool {
		for _, p := range h.Pieces {
			text = append(text, p.Bytes...)
		}
		// What is counted may be told with the next line.
		return len(text) >= 14 && h.Counts.Received == 14 && h.Counts.Frames == 1 && h.Counts.BadChecksums == 1
	})
	if string(text) != "$A*41\r\n$A*42\r\n" || heard.Counts.Damaged != 0 {
		t.Errorf("%q, %+v", text, heard)
	}
	// Whoever listens may send; nobody else may listen, or send for themselves.
	sent := b.ask("/api/v1/serial/send", api.SerialSend{SerialPlace: api.SerialPlace{Port: device}, Bytes: `hex:41 0d`})
	if out, _, _ := next[api.SerialSent](sent); out.Sent != 2 || !out.Watched {
		t.Errorf("%+v", out)
	}
	until(s, "what was sent", func(h api.SerialHeard) bool {
		return slices.ContainsFunc(h.Pieces, func(p api.SerialPiece) bool { return p.Direction == "out" && string(p.Bytes) == "A\r" })
	})
	second := b.ask("/api/v1/serial/listen", api.SerialListen{SerialPlace: api.SerialPlace{Port: device}})
	if no := refusal[api.SerialHeard](second); second.status != http.StatusConflict || !strings.Contains(no, "somebody is listening at this port since") || !strings.Contains(no, " — hint: ") {
		t.Errorf("%d %s", second.status, no)
	}
	taken := b.ask("/api/v1/serial/listen", api.SerialListen{SerialPlace: api.SerialPlace{Port: device, TakeOver: true}})
	until(taken, "the port taken over", func(api.SerialHeard) bool { return true })
	if no := refusal[api.SerialHeard](s); no != errTaken.Error() {
		t.Errorf("whoever had it before is told %q", no)
	}
	taken.end()
	b.isFree()
	p, err := serialport.Open(serialport.Config{Path: device, Host: pb.Host})
	b.must(err) // it was released
	p.Close()
	var report api.SerialReport
	b.get("/api/v1/serial/report?port="+byID, &report)
	if report.Listened == nil || report.Port.Serial != "ONE" || report.Gateway != "bench" || !strings.Contains(report.Identity, "serial ONE") {
		t.Errorf("%+v", report)
	}
}

func TestListeningEndsWhenTheAdapterIsPulled(t *testing.T) {
	pb := newPortBench(t)
	_, byID := pb.plug("ttyUSB0", "ONE")
	b := newBench(t, pb, "")
	s := b.ask("/api/v1/serial/listen", api.SerialListen{SerialPlace: api.SerialPlace{Port: byID}})
	until(s, "the first line", func(api.SerialHeard) bool { return true })
	pb.unplug("ttyUSB0", "ONE")
	if no := refusal[api.SerialHeard](s); !strings.Contains(no, serialport.ErrGone.Error()) {
		t.Errorf("%q", no)
	}
	b.isFree()
	var report api.SerialReport
	b.get("/api/v1/serial/report?port="+byID, &report)
	if !report.Gone || report.Listened == nil || report.Listened.Settings != "9600 8N1" {
		t.Errorf("%+v", report)
	}
}

// The door goes on reading: what is listened to is in the buffer, too.
func TestListeningThroughADoor(t *testing.T) {
	pb := newPortBench(t)
	device, _ := pb.plug("ttyUSB0", "ONE")
	b := newBench(t, pb, fmt.Sprintf("[[ingest.serial]]\nname = \"boiler\"\nport = %q\nbaud = 115200\nallow_send = true\n", device))
	pb.speak("ttyUSB0", "{\"temp\":21.5}\r\n", 10*time.Millisecond)
	one := b.ask("/api/v1/serial/listen", api.SerialListen{SerialPlace: api.SerialPlace{Port: device}})
	two := b.ask("/api/v1/serial/listen", api.SerialListen{SerialPlace: api.SerialPlace{Door: "serial:boiler"}})
	for _, s := range []*stream{one, two} {
		if first := until(s, "the first line", func(api.SerialHeard) bool { return true }); first.Door != "serial:boiler" || first.Settings != "115200 8N1" {
			t.Errorf("%+v", first)
		}
		until(s, "frames", func(h api.SerialHeard) bool {
			return h.Counts.Frames > 3 && h.Counts.Received > 30 && len(h.Pieces) > 0
		})
	}
	out, no, _ := next[api.SerialSent](b.ask("/api/v1/serial/send", api.SerialSend{SerialPlace: api.SerialPlace{Door: "serial:boiler"}, Bytes: `hi`}))
	if out.Sent != 2 {
		t.Errorf("%+v %s", out, no)
	}
	until(one, "what was sent", func(h api.SerialHeard) bool {
		return slices.ContainsFunc(h.Pieces, func(p api.SerialPiece) bool { return p.Direction == "out" && string(p.Bytes) == "hi" })
	})
	probe := b.ask("/api/v1/serial/probe", api.SerialProbe{SerialPlace: api.SerialPlace{Port: device}})
	if no := refusal[api.SerialTried](probe); probe.status != http.StatusConflict || !strings.Contains(no, "serial:boiler reads this port") {
		t.Errorf("%d %s", probe.status, no)
	}
	settings := b.ask("/api/v1/serial/listen", api.SerialListen{SerialPlace: api.SerialPlace{Port: device}, SerialSettings: api.SerialSettings{Baud: 300}})
	if no := refusal[api.SerialHeard](settings); settings.status != http.StatusBadRequest || !strings.Contains(no, "settings of its own") {
		t.Errorf("%d %s", settings.status, no)
	}
	one.end()
	two.end()
	b.isFree()
	var report api.SerialReport
	b.get("/api/v1/serial/report?port="+device, &report)
	if d := report.Door; d == nil || d.State != serialin.Open || d.Line.Frames == 0 || len(d.Readings) != 1 || d.Readings[0].Metric != "temp" || d.Readings[0].Value != 21.5 {
		t.Errorf("%+v", report.Door)
	}
}

// Who looks through a door that another configuration ends is told of it: nothing comes
// there any more, and that is not what the device does.
func TestLookingThroughADoorEndsWithIt(t *testing.T) {
	pb := newPortBench(t)
	device, _ := pb.plug("ttyUSB0", "ONE")
	b := newBench(t, pb, fmt.Sprintf("[[ingest.serial]]\nname = \"boiler\"\nport = %q\nbaud = 115200\n", device))
	listens := b.ask("/api/v1/serial/listen", api.SerialListen{SerialPlace: api.SerialPlace{Door: "serial:boiler"}})
	until(listens, "the first line", func(api.SerialHeard) bool { return true })
	tap, err := http.Get(b.url + "/api/v1/tap?door=serial:boiler")
	b.must(err)
	defer tap.Body.Close()
	c := configuration{b.gateway}
	b.must(c.Carry(t.Context(), api.ConfigOrder{Do: "apply", Text: strings.Replace(b.text, "115200", "9600", 1), Revision: c.State().Revision, Within: time.Minute, Machine: true}))
	const want = "serial:boiler has begun anew"
	if no := refusal[api.SerialHeard](listens); !strings.Contains(no, want) {
		t.Errorf("listening ends with %q", no)
	}
	if no := api.RefusalOf(tap.Body); !strings.Contains(no, want) {
		t.Errorf("the tap ends with %q", no)
	}
}

func TestADoorThatMustNotSendSaysWhy(t *testing.T) {
	pb := newPortBench(t)
	one, _ := pb.plug("ttyUSB0", "ONE")
	two, _ := pb.plug("ttyUSB1", "TWO")
	b := newBench(t, pb, fmt.Sprintf("[[ingest.serial]]\nname = \"a\"\nport = %q\n[[ingest.serial]]\nname = \"b\"\nport = %q\nunasked = \"drop\"\n[[ingest.serial.poll]]\nrequest = \"x\"\n", one, two))
	for want, door := range map[string]string{"allow_send = true": "serial:a", "allow_send": "serial:b", "is no door at a serial port": "serial:c"} {
		s := b.ask("/api/v1/serial/send", api.SerialSend{SerialPlace: api.SerialPlace{Door: door}, Bytes: "x"})
		if no := refusal[api.SerialSent](s); s.status == http.StatusOK || !strings.Contains(no, want) || !strings.Contains(no, " — hint: ") {
			t.Errorf("%s: %d %s", door, s.status, no)
		}
	}
}

// A probe of a port that a door reads lets the door pause, and the door reads on when
// it has ended.
func TestProbeLetsADoorPause(t *testing.T) {
	pb := newPortBench(t)
	device, byID := pb.plug("ttyUSB0", "ONE")
	b := newBench(t, pb, fmt.Sprintf("[[ingest.serial]]\nname = \"boiler\"\nport = %q\n", device))
	pb.speak("ttyUSB0", "{\"temp\":21.5}\r\n", 5*time.Millisecond)
	s := b.ask("/api/v1/serial/probe", api.SerialProbe{SerialPlace: api.SerialPlace{Port: byID, Pause: true}, Listen: 500})
	until(s, "a setting", func(tried api.SerialTried) bool {
		return tried.Setting == "9600 8N1" && tried.Bytes > 0 && tried.Of >= 12
	})
	result := until(s, "the result", func(tried api.SerialTried) bool { return tried.Result != nil }).Result
	if len(result.Found) == 0 {
		t.Fatalf("%+v", result)
	}
	best := result.Found[0]
	if best.Setting != "9600 8N1" || !best.Likely || best.Decoder != "json" || len(best.Evidence) == 0 || len(best.Readings) != 1 || best.Readings[0].Value != 21.5 {
		t.Errorf("%+v", best)
	}
	cfg, err := Parse("proposal", []byte(best.TOML))
	if err != nil || len(cfg.Ingest.Serial) != 1 || cfg.Ingest.Serial[0].Port != byID || !strings.HasPrefix(best.TOML, "# instead of the block of serial:boiler\n") {
		t.Errorf("%v in\n%s", err, best.TOML)
	}
	tap := b.ask("/api/v1/serial/listen", api.SerialListen{SerialPlace: api.SerialPlace{Port: device}})
	until(tap, "frames through the door", func(h api.SerialHeard) bool { return h.Door == "serial:boiler" || h.Counts.Frames > 2 })
	tap.end()
	b.isFree()
	var report api.SerialReport
	b.get("/api/v1/serial/report?port="+device, &report)
	if report.Probed == nil || !strings.HasPrefix(report.Port.Title, "FT232R ") || report.Probed.Best.Setting != "9600 8N1" {
		t.Errorf("%+v", report.Probed)
	}
}

func TestWhileADoorPausesItSaysSo(t *testing.T) {
	pb := newPortBench(t)
	device, _ := pb.plug("ttyUSB0", "ONE")
	b := newBench(t, pb, fmt.Sprintf("[[ingest.serial]]\nname = \"boiler\"\nport = %q\n", device))
	s := b.ask("/api/v1/serial/listen", api.SerialListen{SerialPlace: api.SerialPlace{Port: device, Pause: true}})
	until(s, "the first line", func(api.SerialHeard) bool { return true })
	if st := b.gateway.status().Doors[0]; st.State != pausedState {
		t.Errorf("%+v", st)
	}
	s.end()
	b.isFree()
	if st := b.gateway.status().Doors[0]; st.State == pausedState {
		t.Errorf("%+v", st)
	}
}

func TestProbeEndsWhenTheAdapterIsPulled(t *testing.T) {
	pb := newPortBench(t)
	device, _ := pb.plug("ttyUSB0", "ONE")
	b := newBench(t, pb, "")
	s := b.ask("/api/v1/serial/probe", api.SerialProbe{SerialPlace: api.SerialPlace{Port: device}, Listen: 100})
	until(s, "a setting", func(tried api.SerialTried) bool { return tried.Done == 1 })
	pb.unplug("ttyUSB0", "ONE")
	if no := refusal[api.SerialTried](s); no == "" {
		t.Error("it goes on")
	}
	b.isFree()
}

func TestAProbeEndsWithWhoAskedForIt(t *testing.T) {
	pb := newPortBench(t)
	device, _ := pb.plug("ttyUSB0", "ONE")
	b := newBench(t, pb, "")
	s := b.ask("/api/v1/serial/probe", api.SerialProbe{SerialPlace: api.SerialPlace{Port: device}, Listen: 60_000, Bauds: []int{9600}})
	until(s, "the first line", func(tried api.SerialTried) bool { return tried.Of > 0 })
	s.end()
	b.isFree()
	s = b.ask("/api/v1/serial/probe", api.SerialProbe{SerialPlace: api.SerialPlace{Port: device}, Listen: 60_000, Bauds: []int{9600}})
	until(s, "the first line", func(tried api.SerialTried) bool { return tried.Of > 0 })
	s2 := b.ask("/api/v1/serial/probe", api.SerialProbe{SerialPlace: api.SerialPlace{Port: device, TakeOver: true}, Listen: 1, Bauds: []int{9600}})
	if r := until(s2, "a result", func(tried api.SerialTried) bool { return tried.Result != nil }); !strings.Contains(r.Result.Advice[0], "nothing came") {
		t.Errorf("%+v", r.Result)
	}
	if no := refusal[api.SerialTried](s); no != errTaken.Error() {
		t.Errorf("whoever had it before is told %q", no)
	}
	b.isFree()
}
