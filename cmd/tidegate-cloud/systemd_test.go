package main

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSystemdHearsWhenItReceivesAndStops(t *testing.T) {
	at := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	systemd.SetReadDeadline(time.Now().Add(30 * time.Second))
	hears := func() string {
		t.Helper()
		var b [4096]byte
		n, err := systemd.Read(b[:])
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	t.Setenv("NOTIFY_SOCKET", at)
	url, stop := start(t, "-data", t.TempDir())
	if said, want := hears(), "READY=1\nSTATUS=receives at "+strings.TrimPrefix(url, "http://")+"\n"; said != want {
		t.Errorf("heard %q, want %q", said, want)
	}
	if answer, err := http.Get(url); err != nil {
		t.Errorf("it does not receive: %v", err)
	} else {
		answer.Body.Close()
	}
	if _, err := stop(); err != nil {
		t.Error(err)
	}
	if said := hears(); said != "STOPPING=1\n" {
		t.Errorf("heard %q", said)
	}
}
