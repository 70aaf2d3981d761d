package daemon

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// ear is systemd, as far as it listens to a service.
type ear struct {
	*site
	mu   sync.Mutex
	all  []string
	open *net.UnixConn
}

// playSystemd listens to the gateways of the site that are started from now on, and
// wants to hear of them within the time.
func (s *site) playSystemd(within time.Duration) *ear {
	s.Helper()
	at := filepath.Join(s.dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		s.Fatal(err)
	}
	e := &ear{site: s, open: c}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var b [4096]byte
		for {
			n, err := c.Read(b[:])
			if err != nil {
				return
			}
			e.mu.Lock()
			e.all = append(e.all, string(b[:n]))
			e.mu.Unlock()
		}
	}()
	s.Cleanup(func() {
		c.Close()
		<-ended
	})
	s.Setenv("NOTIFY_SOCKET", at)
	s.Setenv("WATCHDOG_USEC", strconv.FormatInt(within.Microseconds(), 10))
	return e
}

// count is how many messages have said that so far.
func (e *ear) count(line string) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, m := range e.all {
		if strings.Contains("\n"+m, "\n"+line) {
			n++
		}
	}
	return n
}

// hears waits until that has been said so many times.
func (e *ear) hears(line string, times int) {
	e.Helper()
	defer func() {
		if e.Failed() {
			e.Logf("heard %q", e.all)
		}
	}()
	e.eventually("systemd hears "+line, func() bool { return e.count(line) >= times })
}

func TestSystemdHearsHowTheGatewayIs(t *testing.T) {
	s := newSite(t)
	systemd := s.playSystemd(time.Second)
	gateway := s.startGateway()
	systemd.hears("READY=1\nSTATUS=no readings wait; cloud is ", 1)
	if !listens(s.mqtt) || !listens(s.dashboard) {
		t.Error("it says that it is ready, and does not listen")
	}
	systemd.hears("WATCHDOG=1", 3)
	gateway.signal(syscall.SIGHUP)
	systemd.hears("RELOADING=1\nMONOTONIC_USEC=", 1)
	systemd.hears("READY=1", 2)
	systemd.hears("WATCHDOG=1", systemd.count("WATCHDOG=1")+2)
	sensor := s.startBlobs("sensor", 8)
	sensor.publishAll(8, 1000)
	systemd.hears("STATUS=8 readings wait, the oldest for less than a minute; cloud is down", 1)
	st, _ := s.status()
	if st.Buffer.Waiting != 8 || len(st.Doors) == 0 || st.Doors[0].Clients > 1 {
		t.Errorf("probes are seen: %+v", st)
	}
	gateway.stop()
	systemd.hears("STOPPING=1", 1)
}

// It would be full for the next start, too, and what waits could not be sent meanwhile.
func TestAFullDiskIsNoReasonToStartAgain(t *testing.T) {
	s := newSite(t)
	s.mountSmallDisk()
	systemd := s.playSystemd(8 * time.Second) // who knocks is answered each second
	s.startGateway()
	sensor := s.startBlobs("sensor", 8)
	sensor.publishAll(8, 128<<10)
	s.fill()
	sensor.publishUntilFull()
	systemd.hears("WATCHDOG=1", systemd.count("WATCHDOG=1")+3)
	systemd.hears("STATUS=nothing is acknowledged: ", 1)
}

// A commit that hangs: the file system is frozen.
func TestTheWatchdogIsNotFedWhileACommitHangs(t *testing.T) {
	s := newSite(t)
	thaw := s.mountFreezingDisk()
	const within = 2 * time.Second
	systemd := s.playSystemd(within)
	s.startGateway()
	sensor := s.startBlobs("sensor", 8)
	sensor.publishAll(1, 1000)
	systemd.hears("WATCHDOG=1", 2)

	s.freeze()
	acked := sensor.countAcked()
	if err := sensor.publish(t.Context(), 1000); err != nil {
		t.Fatal(err)
	}
	// Probes that were sent before the commit are answered; then none is.
	fed := -1
	s.eventually("the watchdog is not fed", func() bool {
		before := systemd.count("WATCHDOG=1")
		pass(2 * within)
		fed = systemd.count("WATCHDOG=1")
		return fed == before
	})
	if sensor.countAcked() > acked {
		t.Error("acknowledged while the commit hangs")
	}
	thaw()
	systemd.hears("WATCHDOG=1", fed+1)
	s.eventually("the commit is acknowledged", func() bool { return sensor.countAcked() > acked })
}

const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// mountFreezingDisk puts data_dir on a file system that can be frozen, and returns what
// thaws it.
func (s *site) mountFreezingDisk() (thaw func()) {
	s.Helper()
	disk, image := filepath.Join(s.dir, "disk"), filepath.Join(s.dir, "image")
	if err := os.Mkdir(disk, 0o700); err != nil {
		s.Fatal(err)
	}
	for _, command := range [][]string{
		{"truncate", "-s", "64M", image}, {"mkfs.ext4", "-q", image}, {"mount", "-o", "loop", image, disk},
	} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			s.Skipf("%v: %v: %s: root makes a disk, with e2fsprogs and mount", command, err, out)
		}
	}
	s.beforeEnd = func() error { return exec.Command("umount", disk).Run() }
	s.data = filepath.Join(disk, "data")
	s.configure("http://"+s.cloud+"/v1/ingest", "1s")
	thaw = sync.OnceFunc(func() { s.ioctl(fiThaw) })
	return thaw
}

func (s *site) freeze() {
	s.Helper()
	s.Cleanup(func() { s.ioctl(fiThaw) }) // before processes are killed, which wait for it
	s.ioctl(fiFreeze)
}

func (s *site) ioctl(request uint) {
	s.Helper()
	folder, err := os.Open(filepath.Join(s.dir, "disk"))
	if err != nil {
		s.Fatal(err)
	}
	defer folder.Close()
	if err := unix.IoctlSetInt(int(folder.Fd()), request, 0); err != nil && request == fiFreeze {
		s.Skipf("freeze: %v", err)
	}
}
