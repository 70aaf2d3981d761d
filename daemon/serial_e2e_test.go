package daemon

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/ptytest"
)

// wired puts a device at a serial line of the site, and keeps the line open, so
// that a gateway that is killed does not take it along.
func (s *site) wired(more string) (device *os.File) {
	s.Helper()
	device, path := ptytest.New(s.T)
	end, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { end.Close() })
	if err := os.Symlink(path, s.linePath()); err != nil {
		s.Fatal(err)
	}
	s.more = fmt.Sprintf("[[ingest.serial]]\nname = \"boiler\"\nport = %q\n%s", s.linePath(), more)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	return device
}

func (s *site) linePath() string { return filepath.Join(s.dir, "line") }

// lineIs waits until the line is as wanted.
func (s *site) lineIs(what string, wanted func(dashboard.Door) bool) {
	s.Helper()
	s.eventuallyStatus(what, func(st dashboard.Status) bool {
		for _, d := range st.Doors {
			if d.Name == "serial:boiler" && d.Line != nil {
				return wanted(d)
			}
		}
		return false
	})
}

func isOpenLine(d dashboard.Door) bool { return d.State == dashboard.OK }

// A device sends the next frame when the last one was confirmed, and sends again
// what was not confirmed in time. The gateway is killed again and again.
func TestKillNineLosesNoConfirmedFrame(t *testing.T) {
	s := newSite(t)
	device := s.wired("confirm = '{frame} OK\\n'\n")
	s.startCloud()
	const frames, kills = 300, 3
	told := make(chan string)
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop); device.Close() })
	go func() {
		defer close(told)
		for in := bufio.NewScanner(device); in.Scan(); {
			select {
			case told <- in.Text():
			case <-stop:
				return
			}
		}
	}()
	gateway, next := s.startGateway(), frames/(kills+1)
	for n := 1; n <= frames; n++ {
		for confirmed := false; !confirmed; {
			fmt.Fprintf(device, "\n%d\n", n)
			if n == next { // while it is on its way, or just not
				gateway.kill()
				gateway, next = s.startGateway(), next+frames/(kills+1)
			}
			confirmed = hears(told, fmt.Sprintf("%d OK", n))
		}
	}
	s.eventuallyDelivered()
	got := map[string]bool{}
	for _, r := range s.export("?device=boiler") {
		got[string(r.Value)] = true
	}
	for n := 1; n <= frames; n++ {
		if !got[fmt.Sprint(n)] {
			t.Errorf("frame %d was confirmed, and is not in the cloud", n)
		}
	}
	gateway.stop()
}

// hears waits for a confirmation, for a while. Those of what was sent twice are
// passed over.
func hears(told <-chan string, want string) bool {
	late := time.After(time.Second)
	for {
		select {
		case text := <-told:
			if text == want {
				return true
			}
		case <-late:
			return false
		}
	}
}

func TestALineIsSeenInStatusAndTapAndComesBack(t *testing.T) {
	s := newSite(t)
	device := s.wired("device = \"heating\"\nundecodable = \"drop\"\n")
	s.startCloud()
	gateway := s.startGateway()
	s.lineIs("it is open", isOpenLine)
	fmt.Fprint(device, "{\"temp\":21.5}\nnonsense\n")
	s.lineIs("a frame is taken, and one dropped", func(d dashboard.Door) bool {
		return d.Readings == 1 && d.Rejected == 1 && d.Line.Frames == 2
	})
	said := s.do(exitOK, "tidegate", "status", "-config", s.configFile())
	for _, want := range []string{"serial:boiler: 2 frames, the last ", s.linePath()} {
		if !strings.Contains(said, want) {
			t.Errorf("status does not say %q:\n%s", want, said)
		}
	}
	tap := s.start("tidegate", "tap", "-config", s.configFile(), "serial:boiler")
	s.eventually("the tap shows what comes", func() bool {
		fmt.Fprint(device, "{\"temp\":22}\n")
		return strings.Contains(s.said(), "7b 22 74 65 6d 70 22 3a  32 32 7d 0a") && strings.Contains(s.said(), "{\"temp\":22}␊")
	})
	tap.signal(os.Interrupt)
	tap.waitExit(patience)
	said = s.do(exitFailure, "tidegate", "probe", "-config", s.configFile(), "-for", "10ms", s.linePath())
	if !strings.Contains(said, "the port is in use by ") || !strings.Contains(said, fmt.Sprintf("(process %d)", gateway.cmd.Process.Pid)) {
		t.Errorf("probe of a port that the gateway has: %s", said)
	}

	os.Remove(s.linePath())
	device.Close()
	s.lineIs("it is seen to be gone", func(d dashboard.Door) bool { return d.State != dashboard.OK && d.Line.Gone == 1 })
	said = s.do(exitOK, "tidegate", "status", "-config", s.configFile())
	if !strings.Contains(said, "! serial:boiler: ") {
		t.Errorf("status does not say that the line is gone:\n%s", said)
	}
	device, path := ptytest.New(t)
	if err := os.Symlink(path, s.linePath()); err != nil {
		t.Fatal(err)
	}
	s.lineIs("it is back", isOpenLine)
	fmt.Fprint(device, "{\"temp\":23}\n")
	s.eventually("what it says is delivered", func() bool {
		for _, r := range s.export("?device=heating") {
			if string(r.Value) == "23" {
				return true
			}
		}
		return false
	})
	gateway.stop()
}

func TestWithoutAGatewayATapOpensThePort(t *testing.T) {
	s := newSite(t)
	device := s.wired("")
	for _, args := range [][]string{{"serial:boiler"}, {s.linePath()}, {"-baud", "250000", "-format", "7E1", s.devicePath()}} {
		tap := s.start("tidegate", append([]string{"tap", "-config", s.configFile()}, args...)...)
		before := strings.Count(s.said(), "HEAR ME")
		s.eventually("it is shown", func() bool {
			fmt.Fprint(device, "HEAR ME\n")
			return strings.Count(s.said(), "HEAR ME") > before
		})
		tap.signal(os.Interrupt)
		if state := tap.waitExit(patience); !state.Success() {
			t.Errorf("tap %v ended with %v", args, state)
		}
	}
}

// devicePath is where the line leads.
func (s *site) devicePath() string {
	path, err := filepath.EvalSymlinks(s.linePath())
	if err != nil {
		s.Fatal(err)
	}
	return path
}

func TestProbeProposesAConfigurationThatParses(t *testing.T) {
	device, path := ptytest.New(t)
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprint(device, "{\"temp\":21.5}\r\n")
			case <-stop:
				return
			}
		}
	}()
	var out, said bytes.Buffer
	code := Main([]string{"probe", "-for", "500ms", path}, &out, &said)
	close(stop)
	<-stopped
	if code != exitOK {
		t.Fatalf("ended with %d: %s%s", code, &out, &said)
	}
	_, proposal, _ := strings.Cut(out.String(), "configuration:\n")
	c, err := Parse("proposal", []byte(proposal))
	if err != nil || len(c.Ingest.Serial) != 1 || c.Ingest.Serial[0].Port != path {
		t.Errorf("%v: %+v from\n%s", err, c.Ingest.Serial, &out)
	}
	if !strings.Contains(out.String(), "decode as json: temp 21.5") {
		t.Errorf("no evidence:\n%s", &out)
	}
}

func TestProbeOfASilentPortSaysWhatToTry(t *testing.T) {
	_, path := ptytest.New(t)
	var out, said bytes.Buffer
	if code := Main([]string{"probe", "-baud", "9600,250000", "-for", "1ms", path}, &out, &said); code != exitFailure {
		t.Errorf("ended with %d", code)
	}
	if !strings.Contains(out.String(), "nothing came") || !strings.Contains(out.String(), "hint: ") || !strings.Contains(said.String(), "250000 8N1") {
		t.Errorf("%s%s", &out, &said)
	}
}

func TestLineCommandsRefuseWrongCalls(t *testing.T) {
	for want, args := range map[string][]string{
		"which port?":              {"tap"},
		`"b" is not expected`:      {"tap", "a", "b"},
		`"x" is no speed`:          {"probe", "-baud", "9600,x", "/dev/null"},
		`"9X1" is no format`:       {"tap", "-format", "9X1", "/dev/null"},
		`no line "serial:nobody"`:  {"tap", "serial:nobody"},
		"-send: ":                  {"probe", "-send", `\q`, "/dev/null"},
		"flag provided but not":    {"ports", "-baud", "1"},
		`"/dev/null" is not expec`: {"ports", "/dev/null"},
	} {
		var out, said bytes.Buffer
		if code := Main(args, &out, &said); code != exitUsage || !strings.Contains(said.String(), want) {
			t.Errorf("%v ended with %d: %s", args, code, &said)
		}
	}
	var out, said bytes.Buffer
	if code := Main([]string{"tap", "/dev/null"}, &out, &said); code != exitFailure || !strings.Contains(said.String(), "is no serial port — hint: ") {
		t.Errorf("%d: %s", code, &said)
	}
	if out.Len() > 0 {
		t.Errorf("a tap that cannot begin shows %q", &out)
	}
	out.Reset()
	if code := Main([]string{"ports", "-json"}, &out, &said); code != exitOK || !json.Valid(out.Bytes()) {
		t.Errorf("%d: %s", code, &out)
	}
}

// Some decoders take nearly anything: none of them may make sense of noise.
func TestNoDecoderMakesNoiseLikely(t *testing.T) {
	all, err := probers(Default())
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for round := range 200 {
		s := serialin.Sample{Data: make([]byte, 1+random.IntN(300))}
		for i := range s.Data {
			s.Data[i] = byte(random.Uint32())
			if random.IntN(20) == 0 {
				s.Pauses = append(s.Pauses, i+1)
			}
		}
		if cs := serialin.Judge(s, all); len(cs) > 0 && cs[0].Points >= serialin.Likely {
			t.Errorf("round %d: %d points: %v, %v", round, cs[0].Points, cs[0].Framing.Kind, cs[0].Evidence())
		}
	}
}

// To hand a line over as the text that it is explains nothing: number does so.
func TestProbePrefersADecoderThatFindsSomething(t *testing.T) {
	all, err := probers(Default())
	if err != nil {
		t.Fatal(err)
	}
	for want, line := range map[string]string{
		"json":     "21.5\r\n",
		"csv":      "1,21.5,40\r\n",
		"keyvalue": "T=21.5 H=40\r\n",
		"nmea":     "$GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,*47\r\n",
		"":         "Temp: 21.5 C  and more\r\n",
	} {
		for name, s := range map[string]serialin.Sample{
			"whole":           {Data: []byte(strings.Repeat(line, 4))},
			"from its middle": {Data: []byte(line[2:] + strings.Repeat(line, 4))},
		} {
			cs := serialin.Judge(s, all)
			if len(cs) == 0 {
				t.Errorf("%q %s: not explained", line, name)
				continue
			}
			if got := cs[0]; (want != "" && got.Decoder != want) || (got.Points >= serialin.Sure) != (want != "") {
				t.Errorf("%q %s: %d points for %s: %v", line, name, got.Points, got.Decoder, got.Evidence())
			}
		}
	}
}

func TestProbeDoesNotSayThatNothingCameWhenNothingIsExplained(t *testing.T) {
	for want, heard := range map[string]int{"nothing came": 0, "something came, and nothing explains it": 40} {
		var out bytes.Buffer
		c := &lineCall{call: call{stdout: &out}}
		if err := c.writeProbe(api.SerialProbed{Advice: probeAdvice(nil, heard, false)}); err == nil || !strings.Contains(out.String(), want) {
			t.Errorf("%d bytes were heard: %v, %s", heard, err, &out)
		}
	}
}

// The path of a port may be typed as one stands in its folder; a configuration is
// read from anywhere.
func TestProbeProposesAWholePath(t *testing.T) {
	_, path := ptytest.New(t)
	t.Chdir(filepath.Dir(path))
	w := new(lineCall).bench(Default())
	at, err := w.find(api.SerialPlace{Port: filepath.Base(path)}, api.SerialSettings{})
	if err != nil {
		t.Fatal(err)
	}
	text := w.proposal(at, candidate(), nil)
	cfg, err := Parse("proposal", []byte(text))
	if err != nil || cfg.Ingest.Serial[0].Port != path {
		t.Errorf("%v: proposed\n%s", err, text)
	}
}
