package main

import (
	"testing"
	"time"
)

func TestWhatWaitsInTheKernelIsThatOfTheAddress(t *testing.T) {
	table := `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C000 01 00000100:00000000 01:00000000 00000000     0        0 2 1 0 20 4 30 10 -1
   2: 0100007F:1F90 0100007F:C001 01 00000010:00000000 01:00000000 00000000     0        0 3 1 0 20 4 30 10 -1
   3: 0100007F:C000 0100007F:1F90 01 00005000:00000000 01:00000000 00000000     0        0 4 1 0 20 4 30 10 -1
`
	if got := waitingFrom(table, "127.0.0.1:8080"); got != 0x110 {
		t.Errorf("%#x bytes wait, want 0x110", got)
	}
}

func TestTheProbeIsFoundInFrames(t *testing.T) {
	for frame, want := range map[string]time.Duration{
		`{"from":3,"seq":4,"devices":[{"name":"x","metrics":[{"name":"m","value":1}]},{"name":"a-probe","metrics":[{"name":"sent","value":1234}]}]}`: 1234 * time.Millisecond,
		`{"from":0,"seq":4,"devices":[{"name":"a-probe","metrics":[{"name":"sent","value":1234}]}]}`:                                                 0,
		`{"from":3,"seq":4,"devices":[{"name":"a-probe-2","metrics":[{"name":"sent","value":1234}]}]}`:                                               0,
		`{"from":3,"seq":4,"devices":[]}`: 0,
	} {
		if got, ok := sentIn([]byte(frame)); got != want || ok != (want != 0) {
			t.Errorf("%s: %v, %v", frame, got, ok)
		}
	}
}
