package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/logtail"
	"github.com/tidegate/tidegate/internal/netcheck"
	"github.com/tidegate/tidegate/internal/passwd"
	"github.com/tidegate/tidegate/internal/ptytest"
)

// inspect diagnoses a door while something happens.
func inspect(t *testing.T, d *Daemon, name string, meanwhile func()) (steps map[string]netcheck.Line, verdict netcheck.Line) {
	t.Helper()
	steps = map[string]netcheck.Line{}
	x, err := d.inspection(name, 150*time.Millisecond, func(l netcheck.Line) {
		if verdict = l; l.Verdict == "" {
			steps[l.Step] = l
		}
		if l.Step == netcheck.Come && l.State == netcheck.Running {
			meanwhile()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := x.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, q := range netcheck.DoorQuestions(x.now.Kind) {
		if steps[q.Step].State == "" {
			t.Errorf("%s was not told", q.Step)
		}
	}
	return steps, verdict
}

func undisturbed() {}

func TestADoorThatNobodyComesTo(t *testing.T) {
	address, config := brokerAt(t)
	d := inside(t, config+"ingest.http.listen = \"127.0.0.1:0\"\ningest.coap.listen = \"127.0.0.1:0\"\n")
	d.current().broker().Addr(t.Context())
	for _, name := range []string{"mqtt", "http", "coap"} {
		eventually(t, func() bool { s := d.current().doorNamed(name); return s.State == dashboard.OK })
		steps, v := inspect(t, d, name, undisturbed)
		expectVerdict(t, v, netcheck.Warn, "", "Nothing has come in by "+name, "only programs on this machine", "0.0.0.0:")
		if s := steps[netcheck.Knock]; s.State != netcheck.OK || !strings.Contains(s.Text, "answers this machine") {
			t.Errorf("%s: %+v", name, s)
		}
		if s := d.current().doorNamed(name); s.Malformed+s.BadLogins+s.Rejected > 0 {
			t.Errorf("%s: to knock was held against somebody: %+v", name, s)
		}
	}
	sensor, _ := client(t, address, "sensor")
	_, v := inspect(t, d, "mqtt", func() {
		if _, err := sensor.Publish(t.Context(), &paho.Publish{Topic: "dev/pump", Payload: []byte("21.5"), QoS: 1}); err != nil {
			t.Error(err)
		}
	})
	expectVerdict(t, v, netcheck.OK, "", "Nothing is wrong with mqtt: 1 reading came")
}

// Somebody is there, and is sent away: the reason is that of the log.
func TestADoorThatRefuses(t *testing.T) {
	users := filepath.Join(t.TempDir(), "users")
	if err := passwd.Set(users, "pump", []byte("right")); err != nil {
		t.Fatal(err)
	}
	address, config := brokerAt(t)
	d := inside(t, config+fmt.Sprintf("ingest.mqtt.password_file = %q\n", users))
	d.current().broker().Addr(t.Context())
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := paho.NewClient(paho.ClientConfig{Conn: packets.NewThreadSafeConn(conn)})
	_, err = c.Connect(t.Context(), &paho.Connect{ClientID: "pump", Username: "pump", UsernameFlag: true, Password: []byte("guessed"), PasswordFlag: true})
	if err == nil {
		t.Fatal("let in")
	}
	steps, v := inspect(t, d, "mqtt", undisturbed)
	expectVerdict(t, v, netcheck.Warn, "", "1 × wrong login", "user name or password is wrong", "check user and password in the device")
	if steps[netcheck.Refused].State != netcheck.Warn {
		t.Errorf("%+v", steps[netcheck.Refused])
	}
}

func TestADoorThatCannotRead(t *testing.T) {
	d := inside(t, "ingest.mqtt.listen = \"\"\ningest.http.listen = \"127.0.0.1:0\"\n[[ingest.http.route]]\ntopic = \"{device}\"\nundecodable = \"drop\"\n")
	var s dashboard.Door
	eventually(t, func() bool { s = d.current().doorNamed("http"); return s.State == dashboard.OK })
	_, v := inspect(t, d, "http", func() {
		resp, err := http.Post("http://"+s.Address+"/v1/readings/pump", "text/plain", strings.NewReader(`{"temp":`))
		if err != nil {
			t.Error(err)
			return
		}
		resp.Body.Close()
	})
	expectVerdict(t, v, netcheck.Warn, "", "1 payload came, and none could be read", "tidegate test")
}

func TestADoorWhoseAddressIsTaken(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	d := inside(t, fmt.Sprintf("ingest.mqtt.listen = %q\n", l.Addr()))
	eventually(t, func() bool { _, ok := d.lastWarning("mqtt"); return ok })
	_, v := inspect(t, d, "mqtt", undisturbed)
	expectVerdict(t, v, netcheck.Bad, netcheck.Open, "does not listen yet", "address already in use")
}

func TestASerialLine(t *testing.T) {
	device, path := ptytest.New(t)
	end, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	d := inside(t, fmt.Sprintf("ingest.mqtt.listen = \"\"\n[[ingest.serial]]\nname = \"boiler\"\nport = %q\n[ingest.serial.framing]\nmax_frame = \"64B\"\n[[ingest.serial]]\nname = \"gone\"\nport = \"/dev/serial/by-id/usb-nothing\"\n", path))
	eventually(t, func() bool { s := d.current().doorNamed("serial:boiler"); return s.State == dashboard.OK })
	_, v := inspect(t, d, "serial:boiler", undisturbed)
	expectVerdict(t, v, netcheck.Warn, "", "not a byte has come", "RX and TX")
	noise := strings.Repeat("\xf0\x0f\x81", 100) // a wrong speed knows no end of line
	// What the device says has to come to the door while that is watched.
	says := func(text string, come func(dashboard.Door) bool) func() {
		return func() {
			_, _ = device.WriteString(text)
			eventually(t, func() bool { return come(d.current().doorNamed("serial:boiler")) })
		}
	}
	steps, v := inspect(t, d, "serial:boiler", says(noise, func(s dashboard.Door) bool { return s.Line.Garbage > 0 }))
	expectVerdict(t, v, netcheck.Warn, "", "none of them make a frame", "speed")
	if steps[netcheck.Peers].State != netcheck.OK {
		t.Errorf("%+v", steps[netcheck.Peers])
	}
	_, v = inspect(t, d, "serial:boiler", says("\n21.5\n22.5\n23.5\n", func(s dashboard.Door) bool { return s.Readings == 3 }))
	expectVerdict(t, v, netcheck.OK, "", "Nothing is wrong", "3 readings came")
	eventually(t, func() bool { s := d.current().doorNamed("serial:gone"); return s.Line.Trouble != "" })
	_, v = inspect(t, d, "serial:gone", undisturbed)
	expectVerdict(t, v, netcheck.Bad, netcheck.Open, "/dev/serial/by-id/usb-nothing")
}

func TestTheLastWarningOfASourceIsFound(t *testing.T) {
	tail := logtail.New(slog.DiscardHandler)
	log := slog.New(tail)
	d := &Daemon{watch: newWatch(tail)}
	log.With("source", "mqtt").Warn("may not connect", "user", "pump 7", "err", `wrong "password"`)
	log.Warn("it broke", "source", "serial:a", "err", "address in use")
	log.Warn("it broke", "source", "serial:ab", "err", "another")
	log.With("source", "mqtt").Info("listens")
	for source, want := range map[string]string{
		"mqtt": `may not connect: wrong "password" (user pump 7)`, "serial:a": "it broke: address in use", "http": "",
	} {
		r, ok := d.lastWarning(source)
		if ok != (want != "") || ok && worded(r) != want {
			t.Errorf("%s: %q, want %q", source, worded(r), want)
		}
	}
}

func TestTooManyDiagnosesAtOnce(t *testing.T) {
	d := inside(t, "")
	doc := d.doctor()
	for range maxExams {
		if _, err := doc.enter(); err != nil {
			t.Fatal(err)
		}
	}
	err := doc.DiagnoseDoor(context.Background(), "mqtt", func(netcheck.Line) {})
	if err == nil || !strings.Contains(err.Error(), "hint") {
		t.Errorf("%v", err)
	}
	_ = api.Doctor(doc)
}
