package plugged

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestOnlyPortsAreTold(t *testing.T) {
	for event, want := range map[string]bool{
		"add@/devices/pci0000:00/usb1/1-1/ttyUSB0/tty/ttyUSB0\x00ACTION=add\x00DEVPATH=/devices/x\x00SUBSYSTEM=tty\x00SEQNUM=4711\x00": true,
		"libudev\x00\xfe\xed\xca\xfe(\x00\x00\x00ACTION=add\x00SUBSYSTEM=tty\x00DEVLINKS=/dev/serial/by-id/x\x00":                      true,
		"add@/devices/pci0000:00/usb1/1-1\x00ACTION=add\x00SUBSYSTEM=usb\x00":                                                          false,
		"add@/devices/virtual/net/tap0\x00ACTION=add\x00SUBSYSTEM=net\x00INTERFACE=tap0\x00":                                           false,
		"":                            false,
		"\x00SUBSYSTEM=tty":           false,
		"\x00SUBSYSTEM=ttyprintk\x00": false,
	} {
		if got := isPort([]byte(event)); got != want {
			t.Errorf("%q is %v", event, got)
		}
	}
}

// TestTheKernelTells has the kernel repeat an event of one of its ports, which only root
// may.
func TestTheKernelTells(t *testing.T) {
	ports, _ := filepath.Glob("/sys/class/tty/tty*/uevent")
	if len(ports) == 0 {
		t.Skip("this machine has no port in /sys")
	}
	ctx, cancel := context.WithCancel(t.Context())
	listening, told, ended := make(chan struct{}), make(chan bool, 64), make(chan error, 1)
	go func() { ended <- Watch(ctx, func() { told <- true }, listening) }()
	select {
	case <-listening:
	case err := <-ended:
		t.Fatal(err)
	}
	if err := os.WriteFile(ports[0], []byte("change"), 0); err != nil {
		t.Log("no event can be made here: ", err)
	} else {
		select {
		case <-told:
		case err := <-ended:
			t.Fatal(err)
		case <-time.After(time.Minute):
			t.Fatal("nobody was told")
		}
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
