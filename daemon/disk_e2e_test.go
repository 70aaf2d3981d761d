package daemon

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/dashboard"
)

// mountSmallDisk puts data_dir on a file system of 20 MiB: room for two segments
// of the journal.
func (s *site) mountSmallDisk() {
	s.Helper()
	disk := filepath.Join(s.dir, "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		s.Fatal(err)
	}
	if err := unix.Mount("tmpfs", disk, "tmpfs", 0, "size=20m"); err != nil {
		s.Skipf("mount: %v: only root may make a small disk", err)
	}
	s.beforeEnd = func() error { return unix.Unmount(disk, 0) }
	s.data = filepath.Join(disk, "data")
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
}

// fill takes the room that is left on the disk, and returns the file.
func (s *site) fill() string {
	s.Helper()
	ballast, err := os.Create(filepath.Join(s.dir, "disk", "ballast"))
	if err != nil {
		s.Fatal(err)
	}
	defer ballast.Close()
	if _, err := io.Copy(ballast, zeros{}); !errors.Is(err, unix.ENOSPC) {
		s.Fatalf("fill the disk: %v", err)
	}
	return ballast.Name()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// publishUntilFull publishes until the gateway says that it takes nothing more.
func (b *blobs) publishUntilFull() {
	b.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for b.publish(ctx, 128<<10) == nil {
		}
	}()
	defer func() {
		cancel()
		<-ended
	}()
	b.eventuallyStatus("the buffer says that something is wrong", func(st dashboard.Status) bool {
		return st.Buffer.State != dashboard.OK
	})
}

// What a full disk promises: nothing is acknowledged that is not on it,
// everybody is told why, and it ends by itself when there is room again.
func TestFullDiskLosesNothingAcknowledgedAndRecovers(t *testing.T) {
	s := newSite(t)
	s.mountSmallDisk()
	gateway := s.startGateway()
	sensor := s.startBlobs("sensor", 8)
	sensor.publishAll(8, 128<<10)
	ballast := s.fill()
	sensor.publishUntilFull()
	s.checkSaysThatTheDiskIsFull()

	// A start finds the same disk, and must not need room on it.
	gateway.kill()
	gateway = s.startGateway()
	s.eventually("the gateway starts on a full disk", func() bool { return listens(s.mqtt) })
	s.eventuallyStatus("the buffer says again what is wrong", func(st dashboard.Status) bool {
		return st.Buffer.State != dashboard.OK
	})
	acked := sensor.countAcked()

	// Somebody makes room.
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	s.eventually("acknowledgements come again", func() bool { return sensor.countAcked() > acked })
	s.eventuallyStatus("all is well", func(st dashboard.Status) bool { return st.Buffer.State == dashboard.OK })
	s.eventuallyHealth(http.StatusOK, "ok")

	// The journal itself fills the disk; what the cloud takes makes the room.
	sensor.publishUntilFull()
	acked = sensor.countAcked()
	s.startCloud()
	s.eventually("acknowledgements come again", func() bool { return sensor.countAcked() > acked })
	sensor.publishAll(1, 1000)
	s.eventuallyDelivered()
	s.eventuallyHealth(http.StatusOK, "ok")
	sensor.auditBlobs()
	if gaps := s.acknowledgedGaps(); len(gaps) > 0 {
		t.Errorf("gaps: %v", gaps)
	}
	gateway.stop()
}

// acknowledgedGaps returns the reasons of losses other than of what was never
// acknowledged.
func (s *site) acknowledgedGaps() (reasons []string) {
	s.Helper()
	for _, gap := range s.gaps() {
		if gap.Reason != "not stored" {
			reasons = append(reasons, gap.Reason)
		}
	}
	return reasons
}

func (s *site) checkSaysThatTheDiskIsFull() {
	s.Helper()
	const sentence = "no space left on the disk"
	s.eventuallyHealth(http.StatusServiceUnavailable, sentence)
	var out bytes.Buffer
	ask := exec.Command("tidegate", "status", "-config", s.configFile())
	ask.Stdout, ask.Stderr = &out, &out
	if err := ask.Run(); err != nil {
		s.Fatalf("tidegate status: %v\n%s", err, out.String())
	}
	s.Logf("tidegate status:\n%s", out.String())
	_, problem, _ := strings.Cut(out.String(), "! ")
	problem, _, _ = strings.Cut(problem, "\n")
	if !strings.Contains(problem, "nothing is acknowledged") || !strings.Contains(problem, sentence) ||
		!strings.Contains(problem, "make room") || len(problem) > 250 {
		s.Errorf("the first problem is not one clear sentence about the disk: %q", problem)
	}
}

// eventuallyHealth waits until that is answered: an acknowledgement may come before the
// buffer is said to be well again.
func (s *site) eventuallyHealth(code int, text string) {
	s.Helper()
	s.eventually(fmt.Sprintf("healthz says %d and %q", code, text), func() (so bool) {
		s.get("http://"+s.dashboard+"/healthz", func(r *http.Response) error {
			said, err := io.ReadAll(r.Body)
			so = r.StatusCode == code && strings.Contains(string(said), text)
			return err
		})
		return so
	})
}
