package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/internal/ontrial"
)

// withFile runs a gateway whose configuration is in a file.
func withFile(t *testing.T, more string) (r *gatewayHere, file string) {
	t.Helper()
	r = runGateway(t, more)
	file = filepath.Join(r.dir, "tidegate.toml")
	if err := os.WriteFile(file, []byte(r.text(more)), 0o600); err != nil {
		t.Fatal(err)
	}
	done := r.ask(t.Context(), func(_, _ context.Context, s *steward) error { // who alone reads it
		s.from(file, []byte(r.text(more)))
		return nil
	})
	if done != nil {
		t.Fatal(done)
	}
	return r, file
}

// try puts a configuration on trial.
func (r *gatewayHere) try(more string, within time.Duration) error {
	c := configuration{r.Daemon}
	return c.Carry(r.Context(), api.ConfigOrder{Do: "apply", Text: r.text(more), Revision: c.State().Revision, Within: within, By: "a test", Machine: true})
}

// until waits until the configuration is as wanted.
func (r *gatewayHere) until(what string, wanted func(api.ConfigState) bool) {
	r.Helper()
	deadline, look := time.After(patience), time.NewTicker(5*time.Millisecond)
	defer look.Stop()
	for !wanted(configuration{r.Daemon}.State()) {
		select {
		case <-look.C:
		case <-deadline:
			r.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func noTrial(s api.ConfigState) bool { return s.Trial == nil }

func TestATrialIsUndoneByItself(t *testing.T) {
	r, file := withFile(t, twoLinks)
	kept := r.text(twoLinks)
	if err := r.try("max_clients = 7\n", 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	r.until("it is undone", noTrial)
	s := configuration{r.Daemon}.State()
	if text, err := os.ReadFile(file); err != nil || string(text) != kept || s.Text != kept || s.Tried != r.text("max_clients = 7\n") {
		t.Errorf("%v; then: %+v", err, s)
	}
	if len(r.current().links) != 2 || r.current().cfg.Ingest.MQTT.MaxClients == 7 {
		t.Errorf("%+v runs", r.current().cfg)
	}
}

// Whoever keeps the configuration elsewhere, behind a symbolic link, finds there what
// was tried, and so does the page.
func TestATrialBehindASymbolicLinkIsRemembered(t *testing.T) {
	r, file := withFile(t, "")
	real := filepath.Join(t.TempDir(), "gateway.toml")
	if err := errors.Join(os.Rename(file, real), os.Symlink(real, file)); err != nil {
		t.Fatal(err)
	}
	if err := r.try("max_clients = 7\n", 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	r.until("it is undone", noTrial)
	if s := (configuration{r.Daemon}).State(); s.Tried != r.text("max_clients = 7\n") || s.Path != file {
		t.Errorf("then: %+v", s)
	}
}

// What stands in the way of an undo may go away: it is tried again, and until then
// the gateway runs what is on trial.
func TestAnUndoThatDoesNotWorkIsTriedAgain(t *testing.T) {
	passwords := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(passwords, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r, _ := withFile(t, fmt.Sprintf("password_file = %q\n", passwords))
	if err := r.try("", time.Hour); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(passwords, passwords+".away"); err != nil {
		t.Fatal(err)
	}
	revert := func() error { return configuration{r.Daemon}.Carry(t.Context(), api.ConfigOrder{Do: "revert"}) }
	if err := revert(); err == nil || !strings.Contains(err.Error(), passwords) {
		t.Errorf("the error is %v", err)
	}
	if s := (configuration{r.Daemon}).State(); s.Trial == nil || !allOK(r.status().Doors) {
		t.Errorf("afterwards: %+v, %+v", s, r.status().Doors)
	}
	err := r.ask(t.Context(), func(_, _ context.Context, s *steward) error {
		s.trial.over.Reset(0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(passwords+".away", passwords); err != nil {
		t.Fatal(err)
	}
	r.until("it is undone", noTrial)
}

// An uplink that a trial is without finds everything when it is back.
func TestNothingIsGivenUpForAnUplinkThatATrialIsWithout(t *testing.T) {
	r, _ := withFile(t, twoLinks)
	active := func() (names []string) {
		for _, s := range r.buffer.Inventory().Sinks {
			if s.Active {
				names = append(names, s.Name)
			}
		}
		return names
	}
	without := twoLinks[:strings.LastIndex(twoLinks, "[[")]
	if err := r.try(without, time.Hour); err != nil {
		t.Fatal(err)
	}
	if names := active(); len(names) != 2 {
		t.Errorf("in the trial, readings are kept for %v", names)
	}
	c := configuration{r.Daemon}
	if err := c.Carry(t.Context(), api.ConfigOrder{Do: "revert"}); err != nil {
		t.Fatal(err)
	}
	if names := active(); len(names) != 2 {
		t.Errorf("after the undo, readings are kept for %v", names)
	}
	if err := r.try(without, time.Hour); err != nil {
		t.Fatal(err)
	}
	keep := api.ConfigOrder{Do: "confirm", Revision: c.State().Revision}
	for _, time := range []string{"kept", "kept again, because the answer was not heard"} {
		if err := c.Carry(t.Context(), keep); err != nil {
			t.Errorf("%s: %v", time, err)
		}
	}
	if names := active(); len(names) != 1 || names[0] != "east" {
		t.Errorf("once that is kept, readings are kept for %v", names)
	}
}

func TestWhoKnowsAnotherConfigurationIsRefused(t *testing.T) {
	r, file := withFile(t, "")
	c := configuration{r.Daemon}
	old := c.State().Revision
	order := func(do, text, revision string) error {
		return c.Carry(t.Context(), api.ConfigOrder{Do: do, Text: text, Revision: revision, Within: time.Hour, Machine: true})
	}
	if err := order("confirm", "", "000000000000"); !errors.Is(err, errNoTrial) {
		t.Errorf("no trial: %v", err)
	}
	if err := order("apply", r.text("max_clients = 7\n"), old); err != nil {
		t.Fatal(err)
	}
	if err := order("confirm", "", old); !errors.Is(err, errOther) {
		t.Errorf("confirmed as another: %v", err)
	}
	if err := order("confirm", "", c.State().Revision); err != nil {
		t.Fatal(err)
	}
	if err := order("apply", r.text("max_clients = 8\n"), old); !errors.Is(err, errOther) {
		t.Errorf("changed from another: %v", err)
	}
	if err := os.WriteFile(file, []byte(r.text("max_clients = 9\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := order("apply", r.text("max_clients = 8\n"), c.State().Revision); !errors.Is(err, ontrial.ErrChanged) {
		t.Errorf("the file is another: %v", err)
	}
	if err := order("reload", "", ""); err != nil || r.current().cfg.Ingest.MQTT.MaxClients != 9 {
		t.Errorf("read again: %v", err)
	}
}

func TestCheckLooksAtWhatIsNew(t *testing.T) {
	r, _ := withFile(t, twoLinks)
	c := configuration{r.Daemon}
	for _, tt := range []struct{ name, more, want string }{
		{"nothing new", twoLinks, ""},
		{"a fault", "max_clients = 0\n", "9:15 ingest.mqtt.max_clients 0 is too small"},
		{"an uplink", twoLinks + "[[uplink.http]]\nname = \"south\"\nurl = \"http://127.0.0.1:1/\"\n", "warn uplink south: "},
		{"a file that is not there", "password_file = \"/nowhere\"\n" + twoLinks, "fail ingest.mqtt: "},
	} {
		report, said := c.Check(t.Context(), r.text(tt.more), true), ""
		for _, p := range report.Problems {
			said += fmt.Sprintf("%d:%d %s %s\n", p.Line, p.Column, p.Key, p.What)
		}
		for _, f := range report.Findings {
			said += f.Level + " " + f.What + "\n"
		}
		if (tt.want == "") != (said == "") || !strings.Contains(said, tt.want) || strings.Contains(said, "east") {
			t.Errorf("%s: it says\n%s", tt.name, said)
		}
	}
	takesRestart := strings.Replace(r.text(twoLinks), "north-7", "south-1", 1)
	if f := c.Check(t.Context(), takesRestart, true).Findings; len(f) != 1 || f[0].Level != "fail" || !strings.Contains(f[0].What, "gateway.id cannot change") {
		t.Errorf("what takes a restart: %+v", f)
	}
}
