package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/uplink"
)

// gatewayHere is a gateway within the test, without a file.
type gatewayHere struct {
	*testing.T
	*Daemon
	dir  string
	mqtt string
	http string
}

// runGateway runs a gateway with more in its configuration.
func runGateway(t *testing.T, more string) *gatewayHere {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { leaktest.None(t, before) })
	dir, err := os.MkdirTemp("", "gw") // shorter than TempDir: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	r := &gatewayHere{T: t, dir: dir, mqtt: porttest.For(t), http: porttest.For(t)}
	if r.Daemon, err = New(r.config(more), slog.New(slog.NewTextHandler(t.Output(), nil))); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := r.async(func() error { return r.Daemon.Run(ctx) })
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return r
}

// text is a configuration of the gateway, with more in it.
func (r *gatewayHere) text(more string) string {
	return fmt.Sprintf(`
[gateway]
id = "north-7"
data_dir = %q
[dashboard]
listen = ""
[ingest.mqtt]
listen = %q
%s`, filepath.Join(r.dir, "data"), r.mqtt, more)
}

func (r *gatewayHere) config(more string) Config {
	r.Helper()
	c, err := Parse("tidegate.toml", []byte(r.text(more)))
	if err != nil {
		r.Fatal(err)
	}
	return c
}

// become puts a configuration into effect.
func (r *gatewayHere) become(c Config) error {
	return r.ask(r.Context(), func(ctx, send context.Context, s *steward) error { return s.change(ctx, send, c) })
}

// change changes what is not the broker, and says what of the old generation runs on.
func (r *gatewayHere) change(more string) (same []string, err error) {
	r.Helper()
	old := r.current()
	err = r.become(r.config(more))
	now := r.current()
	for _, d := range now.doors {
		if slices.Contains(old.doors, d) {
			same = append(same, d.name)
		}
	}
	for _, l := range now.links {
		if slices.Contains(old.links, l) {
			same = append(same, l.name)
		}
	}
	if now.commands != nil && now.commands == old.commands {
		same = append(same, "commands")
	}
	return same, err
}

const twoLinks = `
[[uplink.http]]
name = "east"
url = "http://127.0.0.1:1/"
[[uplink.http]]
name = "west"
url = "http://127.0.0.1:1/"
`

func TestWhatDidNotChangeRunsOn(t *testing.T) {
	r := runGateway(t, twoLinks)
	if err := opened(t.Context(), r.current().doors); err != nil {
		t.Fatal(err)
	}
	httpDoor := fmt.Sprintf("[ingest.http]\nlisten = %q\n", r.http)
	for _, step := range []struct {
		name, more string
		same       []string
	}{
		{"nothing", twoLinks, []string{"mqtt", "host", "east", "west"}},
		{"one uplink", strings.Replace(twoLinks, ":1/", ":2/", 1), []string{"mqtt", "host", "west"}},
		{"an uplink less", twoLinks[strings.LastIndex(twoLinks, "[["):], []string{"mqtt", "host", "west"}},
		{"an uplink and a door more", httpDoor + twoLinks, []string{"mqtt", "host", "west"}},
		{"a door's option", httpDoor + "max_body = \"64KiB\"\n" + twoLinks, []string{"mqtt", "host", "east", "west"}},
		{"the broker, and no door for HTTP", "max_clients = 7\n" + twoLinks, []string{"host", "east", "west"}},
		{"a refinement that nobody uses", "max_clients = 7\n" + twoLinks + "[[refine]]\nname = \"x\"\ndrop = true\n", []string{"mqtt", "host", "east", "west"}},
		{"a way out", "max_clients = 7\n" + twoLinks + "links = [\"lte\"]\n[[link]]\nname = \"lte\"\n", []string{"mqtt", "host", "east"}},
		{"the budget of a way out", "max_clients = 7\n" + twoLinks + "links = [\"lte\"]\n[[link]]\nname = \"lte\"\nbudget_day = \"1MiB\"\n", []string{"mqtt", "host", "east"}},
		{"commands", twoLinks + "[command]\nallow = [\"#\"]\n[[command.http]]\nname = \"cloud\"\nurl = \"http://127.0.0.1:1/\"\n", []string{"host", "east"}},
		{"the broker under commands", "max_clients = 8\n" + twoLinks + "[command]\nallow = [\"#\"]\n[[command.http]]\nname = \"cloud\"\nurl = \"http://127.0.0.1:1/\"\n", []string{"host", "east", "west", "commands"}},
	} {
		same, err := r.change(step.more)
		if err != nil || !slices.Equal(same, step.same) {
			t.Fatalf("%s: %v runs on, want %v: %v", step.name, same, step.same, err)
		}
		if s := r.status(); !allOK(s.Doors) {
			t.Errorf("%s: %+v", step.name, s.Doors)
		}
	}
}

func allOK(doors []dashboard.Door) bool {
	return !slices.ContainsFunc(doors, func(d dashboard.Door) bool { return d.State != dashboard.OK })
}

func TestAConfigurationWhoseDoorsDoNotOpenIsGivenUp(t *testing.T) {
	r := runGateway(t, twoLinks)
	taken, err := net.Listen("tcp", r.http)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	before := r.current()
	same, err := r.change(fmt.Sprintf("max_clients = 7\n[ingest.http]\nlisten = %q\n", r.http))
	if err == nil || !strings.Contains(err.Error(), "http: ") || !strings.Contains(err.Error(), "in use") {
		t.Errorf("the error is %v", err)
	}
	if !slices.Equal(same, []string{"mqtt", "host", "east", "west"}) || r.current() != before {
		t.Errorf("%v runs on", same)
	}
	if err := opened(t.Context(), before.doors); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestWhatCannotBeBuiltChangesNothing(t *testing.T) {
	r := runGateway(t, twoLinks)
	before := r.current()
	for name, more := range map[string]string{
		"no such password file": `password_file = "/nowhere"` + "\n" + twoLinks,
		"no such authority":     strings.Replace(twoLinks, `"http://127.0.0.1:1/"`, "\"https://127.0.0.1:1/\"\ntls_ca = \"/nowhere\"", 1),
		"no such token":         strings.Replace(twoLinks, `"http://127.0.0.1:1/"`, "\"http://127.0.0.1:1/\"\ntoken_file = \"/nowhere\"", 1),
	} {
		if _, err := r.change(more); err == nil || !strings.Contains(err.Error(), "/nowhere") {
			t.Errorf("%s: %v", name, err)
		}
		if r.current() != before {
			t.Errorf("%s: there is another generation", name)
		}
	}
}

// Ways out outlive what was only tried: whoever edits a configuration for an hour, with
// checks that fail, leaves nothing behind at them.
func TestWhatCannotBeBuiltLeavesNothingBehind(t *testing.T) {
	r := runGateway(t, twoLinks)
	heard := func() int {
		way := r.current().network.named(nil)[0]
		return reflect.ValueOf(way.Link).Elem().FieldByName("heard").Len()
	}
	before := heard()
	for range 5 {
		if _, err := r.plan(r.config(strings.Replace(twoLinks, `"http://127.0.0.1:1/"`, "\"http://127.0.0.1:1/\"\ntoken_file = \"/nowhere\"", 1))); err == nil {
			t.Fatal("a token of nowhere was found")
		}
		if _, err := r.plan(r.config(strings.ReplaceAll(twoLinks, ":1/", ":2/"))); err != nil {
			t.Fatal(err)
		}
	}
	if after := heard(); after != before {
		t.Errorf("%d listen to the way out, before it was %d", after, before)
	}
}

func TestWhatLivesAsLongAsTheProcessTakesARestart(t *testing.T) {
	r := runGateway(t, "")
	c := r.config("")
	c.Buffer.MaxBytes *= 2
	c.Gateway.ID = "south-1"
	err := r.become(c)
	if err == nil || !strings.HasPrefix(err.Error(), "gateway.id, [buffer] cannot change while the gateway runs — hint: ") {
		t.Errorf("the error is %v", err)
	}
}

// deaf is a sink that does not end.
type deaf struct {
	uplink.Sink
	end chan struct{}
}

func (d deaf) Close() error {
	<-d.end
	return nil
}

// A change waits for the sinks that it ends, and a trial must end although one is stuck.
func TestASinkThatDoesNotEndIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		defer close(end)
		if err := letGo(deaf{end: end}); err == nil || !strings.Contains(err.Error(), "left behind") {
			t.Errorf("the error is %v", err)
		}
	})
}
