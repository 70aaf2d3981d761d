package daemon

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate/tidegate/command"
	"github.com/tidegate/tidegate/dashboard"
)

// On a link that is for alarms alone there are no commands, until they count as
// such.
func TestCommandsKeepToTheirLink(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := newSite(t)
	s.commandable(l.Addr().String())
	link := "links = [\"sat\"]\n[[link]]\nname = \"sat\"\nlanes = [\"alarm\"]\n"
	s.more += link
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	gateway := s.startGateway()
	s.eventuallyStatus("it says why", func(st dashboard.Status) bool {
		return st.Commands != nil && len(st.Commands.Couriers) == 1 && strings.Contains(st.Commands.Couriers[0].LastError, "allows no commands now")
	})
	st, _ := s.status()
	var text bytes.Buffer
	if err := writeStatus(&text, st); err != nil || !strings.Contains(text.String(), "no commands come from orders") {
		t.Errorf("%v in\n%s", err, &text)
	}
	gateway.stop()
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(time.Millisecond))
	if c, err := l.Accept(); err == nil {
		c.Close()
		t.Error("it connects over a link that does not allow that")
	}
	s.more = strings.Replace(s.more, link, "lane = \"alarm\"\n"+link, 1)
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	s.startGateway()
	_ = l.(*net.TCPListener).SetDeadline(time.Now().Add(patience))
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestCheckLooksAtCommands(t *testing.T) {
	dir := t.TempDir()
	keys := filepath.Join(dir, "keys")
	config := func(text string) Config {
		t.Helper()
		c, err := Parse("test", fmt.Appendf(nil, "[gateway]\nid = \"north-7\"\ndata_dir = %q\n[command]\n%s", dir, text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	const table = "[[command.mqtt]]\nname = \"orders\"\nurl = \"mqtt://127.0.0.1:1\"\n"
	for _, c := range []struct {
		config, keys, want string
		level              Level
	}{
		{"", "", "", OK},
		{"allow = [\"a\"]\n", "", "only the operator", OK},
		{table, "", "none is allowed", Warn},
		{"allow = [\"a\"]\n" + table, "", "need no signature", Warn},
		{"allow = [\"a\"]\nkey_file = \"" + keys + "\"\n" + table, "0123456789abcdef", "commands from orders", Warn},
		{"allow = [\"a\"]\nkey_file = \"" + keys + "\"\n" + table, "short", "has 5 characters", Fail},
		{"allow = [\"a\"]\nkey_file = \"/nowhere\"\n" + table, "", "no such file", Fail},
	} {
		if err := os.WriteFile(keys, []byte(c.keys), 0o600); err != nil {
			t.Fatal(err)
		}
		k := &checklist{}
		k.commands(t.Context(), config(c.config))
		var text bytes.Buffer
		if err := WriteFindings(&text, k.findings); err != nil || Worst(k.findings) != c.level || !strings.Contains(text.String(), c.want) {
			t.Errorf("%s\nfound\n%s", c.config, &text)
		}
	}
}

// The log is read from the files of a gateway that does not run, too.
func TestTheLogOfCommands(t *testing.T) {
	s := newSite(t)
	gateway := s.startGateway()
	s.eventuallyStatus("it runs", func(dashboard.Status) bool { return true })
	gateway.stop()
	for _, c := range []struct {
		args string
		code int
		want string
	}{
		{"command", exitUsage, "Usage"}, {"command help", exitOK, "Usage"}, {"command frob", exitUsage, "frob"},
		{"command log -n 0 -config X", exitUsage, "hint"}, {"command log x -config X", exitUsage, "hint"},
		{"command log -config X", exitOK, "nothing was decided"}, {"command log -json -config X", exitOK, "[]"},
	} {
		args := strings.Fields(strings.Replace(c.args, "X", s.configFile(), 1))
		var out bytes.Buffer
		if code := Main(args, &out, &out); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: %d\n%s", c.args, code, &out)
		}
	}
	var out bytes.Buffer
	hostile := decision{At: time.Unix(0, 0), Audit: command.Audit{ID: "1", Decision: command.Refused, Reason: "\x1b[31mred\nline", Topic: "a"}}
	if err := writeDecisions(&out, []decision{hostile}); err != nil || strings.ContainsRune(out.String(), '\x1b') || strings.Count(out.String(), "\n") != 2 {
		t.Errorf("%v, %q", err, &out)
	}
}
