package firmwaresim

import (
	"bytes"
	"net"
	"os/exec"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/base/porttest"
)

// startLibcoap runs a server that others have written. It stores what is PUT.
func startLibcoap(t *testing.T, args ...string) (addr string) {
	t.Helper()
	server, err := exec.LookPath("coap-server-notls")
	if err != nil {
		t.Skip("needs libcoap3-bin")
	}
	addr = porttest.For(t)
	_, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(server, append([]string{"-A", "127.0.0.1", "-p", port, "-d", "20"}, args...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return addr
}

func TestLibcoapTakesWhatIsSent(t *testing.T) {
	addr := startLibcoap(t)
	client, err := exec.LookPath("coap-client-notls")
	if err != nil {
		t.Skip("needs libcoap3-bin")
	}
	cfg := SenderConfig{URL: "coap://" + addr + "/{device}/x", Devices: 3, Window: 2, Count: 60, Put: true, Shape: Array,
		BlockSize: 128, AckTimeout: time.Second, Faults: Faults{Drop: .03}}
	s, err := sendAll(t, cfg, NewLedger())
	if err != nil || s.Acked != 60 || s.Refused != 0 || s.Retransmitted == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
	out, err := exec.Command(client, "-m", "get", "-B", "10", "coap://"+addr+"/dev-0002/x").Output()
	counters := countersOf(t, Array, bytes.TrimSpace(out))
	if err != nil || len(counters) != 4 || counters[0]%4 != 1 || counters[3] != counters[0]+3 || counters[3] > 80 {
		t.Errorf("%v: %s", err, out)
	}
}

// The server loses one of five answers. It does not recognise what comes again,
// so only the acknowledgements are looked at.
func TestLibcoapThatLosesAnswers(t *testing.T) {
	cfg := SenderConfig{URL: "coap://" + startLibcoap(t, "-l", "20%") + "/{device}", Devices: 3, Window: 2, Count: 60, Put: true, Shape: JSON8,
		AckTimeout: 100 * time.Millisecond, Faults: Faults{Drop: .1, Duplicate: .1}}
	ledger := NewLedger()
	s, err := sendAll(t, cfg, ledger)
	if acked, _ := ledger.Count(); err != nil || s.Acked != 60 || acked != 60 || s.Refused != 0 || s.Retransmitted == 0 {
		t.Fatalf("%+v, %v", s, err)
	}
}
