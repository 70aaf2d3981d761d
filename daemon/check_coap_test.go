package daemon

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestCheckLooksAtTheCoAPDoor(t *testing.T) {
	taken, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	keys := filepath.Join(t.TempDir(), "keys")
	look := func(listen, text string, mode os.FileMode) []Finding {
		t.Helper()
		if err := os.WriteFile(keys, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(keys, mode); err != nil {
			t.Fatal(err)
		}
		k := &checklist{}
		k.coap(CoAP{DTLSListen: listen, PSKFile: keys}, time.Second, "")
		if len(k.findings) != 2 {
			t.Fatalf("findings: %+v", k.findings)
		}
		return k.findings
	}
	const good = "boiler:000102030405060708090a0b0c0d0e0f\n"
	for _, tt := range []struct {
		text  string
		mode  os.FileMode
		level Level
		words []string
	}{
		{good, 0o600, OK, []string{"keys in " + keys + ": 1"}},
		{good, 0o604, Warn, []string{"everybody on this machine", "chmod o-rwx"}},
		{"# none\n", 0o600, Warn, []string{"no keys", "in hexadecimal"}},
		{"boiler:secret\n", 0o600, Fail, []string{"line 1", `the key of "boiler"`, "openssl rand"}},
	} {
		f := look("127.0.0.1:0", tt.text, tt.mode)
		expect(t, f[0], OK, "can listen on 127.0.0.1:0, UDP")
		expect(t, f[1], tt.level, tt.words...)
		if strings.Contains(f[1].What, "secret") {
			t.Error("a key is in the checklist")
		}
	}
	expect(t, look(taken.LocalAddr().String(), good, 0o600)[0], Fail, "the UDP port is taken", "ss -lunp")
	expect(t, look("192.0.2.1:5684", good, 0o600)[0], Fail, "no interface has that address")
	k := &checklist{}
	k.coap(CoAP{}, time.Minute, "")
	if len(k.findings) != 0 {
		t.Errorf("of a door that is off: %+v", k.findings)
	}
	k.coap(CoAP{Listen: "127.0.0.1:0"}, time.Second, "")
	if len(k.findings) != 2 || Worst(k.findings) != OK {
		t.Errorf("findings: %+v", k.findings)
	}
	k = &checklist{}
	k.coap(CoAP{Listen: "127.0.0.1:0"}, 3*time.Second, "")
	expect(t, k.findings[0], Warn, "may take 3s", "after 2s", "max_ack_delay")
}
