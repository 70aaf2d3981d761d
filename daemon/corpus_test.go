package daemon

import (
	"encoding/json"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	paho3 "github.com/eclipse/paho.mqtt.golang"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/internal/corpustest"
)

// A gateway and a cloud that find the folders of earlier programs go on where those
// ended: every reading that was acknowledged comes once, the cloud has what it had, and
// sessions, retained messages, operator, tokens and the use of links are as they were.
func TestEarlierProgramsAreTakenOver(t *testing.T) {
	for _, name := range corpustest.Names(t) {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			want := corpustest.Unpack(t, name, s.dir)
			s.settle(want, porttest.For(t))
			s.startCloud()
			s.checkNumbers(want.Delivered)
			before := s.duplicates()
			gateway := s.startGateway()
			s.eventuallyStatus("everything is delivered", func(st dashboard.Status) bool {
				return len(st.Links) == 2 && st.Links[0].Waiting == 0 && st.Links[0].InFlight == 0
			})
			s.checkNumbers(want.Acked)
			if again := s.duplicates() - before; again != 0 {
				t.Errorf("%d readings were delivered again", again)
			}
			s.checkSessions(want)
			s.checkRest(want)
			gateway.stop()
		})
	}
}

// checkNumbers checks that the cloud has the numbers up to n, in the order in which
// each device has sent them.
func (s *site) checkNumbers(n int) {
	s.Helper()
	var all []int
	last := map[string]int{}
	rows := s.export("?")
	slices.SortStableFunc(rows, func(a, b row) int { return int(a.Seq) - int(b.Seq) })
	for _, r := range rows {
		if r.Metric != "n" {
			continue
		}
		var number int
		if err := json.Unmarshal(r.Value, &number); err != nil {
			s.Fatal(err)
		}
		if number <= last[r.Device] {
			s.Errorf("%s: %d comes after %d", r.Device, number, last[r.Device])
		}
		last[r.Device] = number
		all = append(all, number)
	}
	slices.Sort(all)
	var want []int
	for i := 1; i <= n; i++ {
		want = append(want, i)
	}
	if !slices.Equal(all, want) {
		s.Errorf("the cloud has %v, want 1 to %d", all, n)
	}
}

func (s *site) duplicates() (n uint64) {
	s.Helper()
	for _, lane := range s.cloudLedger() {
		n += lane.Duplicates
	}
	return n
}

// checkSessions lets the display come back.
func (s *site) checkSessions(want corpustest.Expectation) {
	s.Helper()
	if len(want.Messages) == 0 {
		return
	}
	var got []string
	for _, line := range s.receive("display", "cmd/#", len(want.Messages)) {
		if line != "the command" { // which may have expired
			got = append(got, line)
		}
	}
	if slices.Sort(got); !slices.Equal(got, want.Messages[:len(got)]) || len(got) < len(want.Messages)-1 {
		s.Errorf("the display gets %q, want %q", got, want.Messages)
	}
	if got := s.receive("", "state", 1); !slices.Equal(got, []string{want.Retained}) {
		s.Errorf("retained is %q, want %q", got, want.Retained)
	}
}

// receive subscribes as a client of MQTT 3.1.1, which has a lasting session if it has an
// id, and returns the first messages: n, unless some have expired.
func (s *site) receive(id, filter string, n int) (got []string) {
	s.Helper()
	inbox := make(chan string, 2*n)
	client := paho3.NewClient(paho3.NewClientOptions().AddBroker("tcp://" + s.mqtt).SetProtocolVersion(4).
		SetClientID(id).SetCleanSession(id == "").SetAutoReconnect(false).
		SetDefaultPublishHandler(func(_ paho3.Client, m paho3.Message) { inbox <- string(m.Payload()) }))
	connected := client.Connect()
	if !connected.WaitTimeout(patience) || connected.Error() != nil {
		s.Fatalf("%s does not connect: %v", id, connected.Error())
	}
	defer client.Disconnect(250)
	if subscribed := client.Subscribe(filter, 2, nil); !subscribed.WaitTimeout(patience) || subscribed.Error() != nil {
		s.Fatalf("%s does not subscribe: %v", id, subscribed.Error())
	}
	late := time.After(patience / 3)
	for len(got) < n {
		select {
		case payload := <-inbox:
			got = append(got, payload)
		case <-late:
			return got
		}
	}
	return got
}

// checkRest looks at the state files, and at what the gateway said of them.
func (s *site) checkRest(want corpustest.Expectation) {
	s.Helper()
	if listed := s.do(exitOK, "tidegate", "quarantine", "ls", "-config", s.configFile()); strings.Count(listed, "field type conflict") != want.Refused {
		s.Errorf("in quarantine:\n%s, want %d", listed, want.Refused)
	}
	if want.Token != "" {
		if listed := s.do(exitOK, "tidegate", "token", "ls", "-config", s.configFile()); !strings.Contains(listed, want.Token) {
			s.Errorf("tokens:\n%s", listed)
		}
		if said := s.do(exitFailure, "tidegate", "setup-code", "-config", s.configFile()); !strings.Contains(said, "has an operator already") {
			s.Errorf("the operator is forgotten: %s", said)
		}
	}
	used := func(l dashboard.Carrier) bool { return l.Name == want.Link && l.Month.Used > l.Sent+l.Received }
	if st, _ := s.status(); want.Link != "" && !slices.ContainsFunc(st.Network, used) {
		s.Errorf("what the link was used before is forgotten: %+v", st.Network)
	}
	if err := filepath.WalkDir(s.data, func(path string, _ fs.DirEntry, err error) error {
		if aside := regexp.MustCompile(`\.(broken|damaged|later)`); aside.MatchString(path) {
			s.Errorf("set aside: %s", path)
		}
		return err
	}); err != nil {
		s.Error(err)
	}
	if said := s.said(); strings.Contains(said, "level=ERROR") {
		s.Error("the gateway complains")
	}
}

// Each release leaves an entry behind.
func TestTheCorpusHasThisRelease(t *testing.T) {
	for _, name := range corpustest.Names(t) {
		if e := corpustest.Unpack(t, name, t.TempDir()); strings.HasPrefix(e.Program, "tidegate "+Version+" ") && e.Token != "" {
			return
		}
	}
	t.Errorf("there is no entry of %s in internal/corpustest/testdata: make one with \"make corpus\"", Version)
}
