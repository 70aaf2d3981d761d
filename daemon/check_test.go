package daemon

import (
	"cmp"
	"context"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// only returns the single finding that a check made.
func only(t *testing.T, k *checklist) Finding {
	t.Helper()
	if len(k.findings) != 1 {
		t.Fatalf("findings: %+v", k.findings)
	}
	return k.findings[0]
}

func expect(t *testing.T, f Finding, level Level, words ...string) {
	t.Helper()
	if f.Level != level {
		t.Errorf("level %d, want %d: %+v", f.Level, level, f)
	}
	for _, word := range words {
		if !strings.Contains(f.What+"\n"+f.Hint, word) {
			t.Errorf("%q is not in %+v", word, f)
		}
	}
	if (f.Hint == "") != (f.Level == OK) {
		t.Errorf("a hint belongs to what is not fine, and to nothing else: %+v", f)
	}
}

func TestCheckOfAHealthyGatewayFindsNothingToFix(t *testing.T) {
	cloud := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(cmp.Or(map[string]int{"Bearer hunter2": 400}[r.Header.Get("Authorization")], 401)) // nothing is no chunk
	}))
	defer cloud.Close()
	dir := t.TempDir()
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Parse("check", []byte(`
[gateway]
id = "north-7"
data_dir = "`+filepath.Join(dir, "data")+`"
[buffer]
max_bytes = "32MiB"
[ingest.mqtt]
listen = "127.0.0.1:0"
[dashboard]
listen = ""
[[uplink.http]]
name = "cloud"
url = "`+cloud.URL+`"
token_file = "`+token+`"
`))
	if err != nil {
		t.Fatal(err)
	}
	findings := Check(t.Context(), c)
	if Worst(findings) == Fail {
		t.Errorf("findings: %+v", findings)
	}
	var text strings.Builder
	if err := WriteFindings(&text, findings); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"✓ the gateway's id is north-7\n", "does not exist yet and can be made", "✓ ingest.mqtt can listen on 127.0.0.1:0\n",
		"✓ dashboard is off\n", "✓ uplink cloud: the secret in ", "answers, without encryption", ", 0 to fix\n",
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
	if strings.Contains(text.String(), "hunter2") {
		t.Error("the token is in the checklist")
	}
}

func TestFindingsReadAsAChecklist(t *testing.T) {
	k := &checklist{}
	k.ok("flash is fine")
	k.warn("look at it", "the clock is odd")
	k.fail("free it", "port %d is taken", 1883)
	var b strings.Builder
	if err := WriteFindings(&b, k.findings); err != nil {
		t.Fatal(err)
	}
	want := `✓ flash is fine
! the clock is odd
    hint: look at it
✗ port 1883 is taken
    hint: free it
1 fine, 1 to look at, 1 to fix
`
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	if Worst(k.findings) != Fail || Worst(k.findings[:2]) != Warn || Worst(nil) != OK {
		t.Error("Worst is not the worst")
	}
}

func TestAClockThatWasNeverSetIsNoticed(t *testing.T) {
	for _, c := range []struct {
		now    string
		synced bool
		level  Level
		word   string
	}{
		{"1970-01-01T00:03:00Z", false, Warn, "1970-01-01"},
		{"1970-01-01T00:03:00Z", true, Warn, "1970-01-01"},
		{"2031-05-01T12:00:00Z", false, Warn, "not synchronised"},
		{"2031-05-01T12:00:00Z", true, OK, "2031-05-01T12:00:00Z"},
	} {
		now, err := time.Parse(time.RFC3339, c.now)
		if err != nil {
			t.Fatal(err)
		}
		k := &checklist{}
		k.clock(now, c.synced)
		expect(t, only(t, k), c.level, c.word)
	}
}

func TestWhatEverybodyCanUseIsNoticed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, open := range map[os.FileMode]bool{0o600: false, 0o660: false, 0o640: false, 0o644: true, 0o602: true, 0o601: true} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		k := &checklist{}
		if k.openToAll("uplink cloud", path) != open || len(k.findings) > 0 != open {
			t.Errorf("%o: %+v", mode, k.findings)
			continue
		}
		if open {
			expect(t, only(t, k), Warn, "uplink cloud: everybody on this machine can use "+path, "chmod o-rwx "+path)
		}
	}
	if k := new(checklist); k.openToAll("uplink cloud", path+".none") || len(k.findings) > 0 {
		t.Errorf("of a file that is not there: %+v", k.findings)
	}
}

func TestTakenPortFailsUnlessTheGatewayItselfHasIt(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	socket := filepath.Join(t.TempDir(), "admin.sock")

	k := &checklist{}
	k.listener("ingest.mqtt", l.Addr().String(), socket)
	expect(t, only(t, k), Fail, "the port is taken", "ss -ltnp")

	admin, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	k = &checklist{}
	k.listener("ingest.mqtt", l.Addr().String(), socket)
	expect(t, only(t, k), OK, "the gateway is running")
}

func TestListenerThatCannotBeBoundFails(t *testing.T) {
	k := &checklist{}
	k.listener("ingest.mqtt", "192.0.2.1:1883", "") // TEST-NET-1 is nobody's address
	expect(t, only(t, k), Fail, "no interface has that address")
}

func TestNoUplinkIsNoticed(t *testing.T) {
	k := &checklist{}
	k.uplinks(t.Context(), Config{})
	expect(t, only(t, k), Warn, "there is no uplink")
}

func TestSecretFilesAreRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	up := cloudUplink("https://cloud.example/")
	up.doorOut.(*HTTPUplink).TokenFile = path
	k := &checklist{}
	if k.secrets(up) {
		t.Error("a file that is not there can be read")
	}
	expect(t, only(t, k), Fail, "no such file")

	if err := os.WriteFile(path, []byte("hunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	for mode, level := range map[os.FileMode]Level{0o600: OK, 0o640: OK, 0o644: Warn} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		k := &checklist{}
		if !k.secrets(up) {
			t.Error("the file cannot be read")
		}
		expect(t, only(t, k), level)
	}
}

func cloudUplink(url string) upstream {
	var h HTTPUplink
	h.SetDefaults()
	h.Name, h.URL = "cloud", url
	return upstream{"uplink.http[0]", "http", &h}
}

// An uplink that does not answer is what the buffer is for: never a failure.
func TestUplinkOutOfReachIsAWarning(t *testing.T) {
	k := &checklist{}
	k.reach(t.Context(), Gateway{ID: "gw"}, systemNetwork(), cloudUplink("http://"+closed(t)))
	expect(t, only(t, k), Warn, "refuses the connection", "nothing listens")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	k = &checklist{}
	k.reach(ctx, Gateway{ID: "gw"}, systemNetwork(), cloudUplink("https://cloud.invalid"))
	expect(t, only(t, k), Warn, "uplink cloud")
}

func TestUplinkWithAForeignCertificateIsNoticed(t *testing.T) {
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it will complain of us
	server.StartTLS()
	defer server.Close()
	k := &checklist{}
	k.reach(t.Context(), Gateway{ID: "gw"}, systemNetwork(), cloudUplink(server.URL))
	expect(t, only(t, k), Warn, "certificate", "signed by itself")
}

func TestCertificateThatEndsSoonIsNoticed(t *testing.T) {
	now := time.Date(2031, 5, 1, 0, 0, 0, 0, time.UTC)
	for ends, level := range map[string]Level{"2031-04-30": Warn, "2031-05-10": Warn, "2031-06-01": OK} {
		date, err := time.Parse(time.DateOnly, ends)
		if err != nil {
			t.Fatal(err)
		}
		k := &checklist{}
		k.certificate("cloud", &x509.Certificate{NotBefore: date.AddDate(-1, 0, 0), NotAfter: date}, now)
		expect(t, only(t, k), level, ends)
	}
}
