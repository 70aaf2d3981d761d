package linkup

import (
	"context"
	"errors"
	"os/exec"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/base/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestAddressThatAppearsIsTold(t *testing.T) {
	ip, err := exec.LookPath("ip")
	if err != nil {
		t.Skip("the command ip is missing: apt-get install iproute2")
	}
	told := make(chan struct{}, 1)
	listening := make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- Watch(ctx, func(up bool) {
			if !up {
				return
			}
			select {
			case told <- struct{}{}:
			default:
			}
		}, listening)
	}()
	select {
	case <-listening:
	case err := <-ended:
		t.Fatal(err)
	}
	const address = "127.99.77.1/32"
	out, err := exec.Command(ip, "address", "add", address, "dev", "lo").CombinedOutput()
	if err != nil {
		cancel()
		<-ended
		t.Skipf("adding an address needs root: %v: %s", err, out)
	}
	defer exec.Command(ip, "address", "del", address, "dev", "lo").Run()
	select {
	case <-told:
	case <-time.After(time.Minute):
		t.Error("an address appeared, and nothing was told")
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestHostileMessagesTellNothing(t *testing.T) {
	for _, b := range [][]byte{nil, {1}, make([]byte, 16), {16, 0, 0, 0, 20, 0}, {255, 255, 255, 255, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
		if isUp(b) {
			t.Errorf("%v tells of a link", b)
		}
	}
}
