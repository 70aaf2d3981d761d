package overhttp

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/cloud"
	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/command/commandtest"
	"github.com/tidegate/tidegate/internal/base/porttest"
)

// shore is a tidegate cloud that can be killed.
type shore struct {
	dir, address string
	server       *http.Server
	store        *cloud.Store
	receiver     *cloud.Receiver
	seen         map[string]int // answers by command
}

func (s *shore) start(t *testing.T) {
	t.Helper()
	l, err := net.Listen("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	if s.store, err = cloud.Open(cloud.StoreConfig{Dir: s.dir}); err != nil {
		t.Fatal(err)
	}
	s.receiver = cloud.NewReceiver(cloud.ReceiverConfig{Tokens: map[string]string{"north-7": "s3cret", "south": "other"}}, s.store, slog.New(slog.DiscardHandler))
	s.server = &http.Server{Handler: cloud.Routes(s.receiver, s.store)}
	go s.server.Serve(l)
}

func (s *shore) kill(t *testing.T) {
	t.Helper()
	s.server.Close()
	s.receiver.Close()
	if err := s.store.Close(); err != nil {
		t.Error(err)
	}
}

func (s *shore) put(t *testing.T, document string) {
	t.Helper()
	resp, err := http.Post("http://"+s.address+"/v1/commands?gateway=north-7", "application/json", strings.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if said, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusAccepted {
		t.Fatalf("%s: %d %s", document, resp.StatusCode, said)
	}
}

func (s *shore) orders(t *testing.T) []cloud.Order {
	t.Helper()
	resp, err := http.Get("http://" + s.address + "/v1/commands/log?gateway=north-7")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var all struct{ Commands []cloud.Order }
	if err := json.NewDecoder(resp.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all.Commands
}

// next returns the first answer that was not seen before, in the order of commands.
func (s *shore) next(t *testing.T) (a command.Answer) {
	t.Helper()
	commandtest.Eventually(t, "an answer", func() bool {
		for _, o := range s.orders(t) {
			if len(o.Answers) <= s.seen[o.ID] {
				continue
			}
			if err := json.Unmarshal(o.Answers[s.seen[o.ID]], &a); err != nil {
				t.Fatal(err)
			}
			s.seen[o.ID]++
			return true
		}
		return false
	})
	return a
}

func token(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func newCourier(t *testing.T, cfg Config) *Courier {
	t.Helper()
	c, err := New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func newShore(t *testing.T) (*shore, Config) {
	s := &shore{dir: t.TempDir(), address: porttest.For(t), seen: map[string]int{}}
	s.start(t)
	t.Cleanup(func() { s.kill(t); http.DefaultClient.CloseIdleConnections() })
	return s, Config{URL: "http://" + s.address + "/v1/commands", Gateway: "north-7", TokenFile: token(t, "s3cret"), Wait: 10 * time.Second, Pause: time.Millisecond}
}

func TestOverACloud(t *testing.T) {
	commandtest.Run(t, func(t *testing.T) commandtest.Peer {
		s, cfg := newShore(t)
		bad := cfg
		bad.TokenFile = token(t, "other") // of another gateway
		return commandtest.Peer{
			Courier: newCourier(t, cfg), Wrong: newCourier(t, bad), Put: s.put, Answer: s.next, Checked: true,
			Kill: s.kill, Restart: s.start,
		}
	})
}

// Commands that come beside readings need no question.
func TestCommandsBesideReadings(t *testing.T) {
	s, cfg := newShore(t)
	cfg.Pause = -1
	c := newCourier(t, cfg)
	w := commandtest.NewWorld(t)
	w.Start(c)
	s.put(t, commandtest.Doc("1"))
	queued := s.orders(t)[0]
	c.Offer([]byte(`{"acked":{"lane":"normal"}}`))
	c.Offer([]byte("no JSON, but \"commands\""))
	c.Offer(fmt.Appendf(nil, `{"acked":{},"commands":[{"queued":%q,"document":%s}]}`, queued.Queued.Format(time.RFC3339), queued.Document))
	if a := s.next(t); a.State != command.Accepted {
		t.Errorf("answered %+v", a)
	}
	for range 2 * maxOffered { // and nobody there to take them
		c.Offer([]byte(`{"commands":[{}]}`))
	}
}

func TestAnswersThatAreNone(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		kind   string
		body   string
		want   string
	}{
		"login page": {200, "text/html", "<html>", "login page"},
		"no JSON":    {200, "application/json", "hello", "not JSON"},
		"redirect":   {302, "", "", "redirects are not followed"},
		"busy":       {503, "", "", "busy"},
		"not there":  {404, "", "", "check the path"},
		"endless":    {200, "application/json", strings.Repeat(" ", maxAnswer+1), "more than"},
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", c.kind)
			w.WriteHeader(c.status)
			io.WriteString(w, c.body)
		})}
		go server.Serve(l)
		w := commandtest.NewWorld(t)
		err = newCourier(t, Config{URL: "http://" + l.Addr().String(), Gateway: "north-7"}).Run(t.Context(), w.Clerk)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%s: got %v", name, err)
		}
		server.Close()
	}
}

// FuzzParse: whatever a server says, its commands are no larger than what it said.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"commands":[{"id":"1"},{"queued":"2026-01-31T12:00:00Z","document":{"id":"2"}},null,7]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		items, err := parse(body)
		size := 0
		for _, i := range items {
			size += len(i.Document)
		}
		if err == nil && size > len(body) {
			t.Fatalf("%d bytes of %d", size, len(body))
		}
	})
}
