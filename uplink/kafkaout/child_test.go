//go:build !nokafka

package kafkaout

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/tidegate/tidegate/internal/base/porttest"
	"github.com/tidegate/tidegate/internal/rerun"
)

// childDir is the variable of the environment that makes the test program a
// broker: its folder, with the port in childPort.
const (
	childDir  = "TIDEGATE_TEST_KAFKA_DIR"
	childPort = "TIDEGATE_TEST_KAFKA_PORT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(beBroker(dir, os.Getenv(childPort)))
	}
	os.Exit(m.Run())
}

// beBroker is a broker that syncs every batch, until it is killed.
func beBroker(dir, port string) int {
	n, err := strconv.Atoi(port)
	if err == nil {
		_, err = kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(n), kfake.SeedTopics(1, topic), kfake.DataDir(dir), kfake.SyncWrites())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	select {}
}

// broker is one in a process of its own, which can be killed and frozen.
type broker struct {
	t    testing.TB
	addr string
	dir  string
	cmd  *exec.Cmd
}

func newBroker(t testing.TB) *broker {
	t.Helper()
	b := &broker{t: t, addr: porttest.For(t), dir: t.TempDir()}
	t.Cleanup(func() {
		if b.cmd != nil {
			b.kill()
		}
	})
	b.start()
	return b
}

// start returns when the broker listens.
func (b *broker) start() {
	b.t.Helper()
	_, port, err := net.SplitHostPort(b.addr)
	if err != nil {
		b.t.Fatal(err)
	}
	b.cmd = rerun.Command()
	b.cmd.Env = append(os.Environ(), childDir+"="+b.dir, childPort+"="+port)
	b.cmd.Stderr = os.Stderr
	if err := b.cmd.Start(); err != nil {
		b.t.Fatal(err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.Now().Add(patience); time.Now().Before(late); <-tick.C {
		if c, err := net.Dial("tcp", b.addr); err == nil {
			c.Close()
			return
		}
	}
	b.t.Fatal("the broker does not listen")
}

// kill is kill -9.
func (b *broker) kill() {
	b.cmd.Process.Kill()
	b.cmd.Wait() // it was killed, and says so
	b.cmd = nil
}

func (b *broker) signal(s syscall.Signal) {
	if err := b.cmd.Process.Signal(s); err != nil {
		b.t.Fatal(err)
	}
}
