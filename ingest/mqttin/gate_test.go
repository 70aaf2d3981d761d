package mqttin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tidegate/tidegate/ingest/ingesttest"
)

// receipt resolves with what is sent to it.
type receipt chan error

func (r receipt) Wait(ctx context.Context) error {
	select {
	case err := <-r:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pipeGate returns a gate and the other end of its connection: a pipe holds
// nothing, so each read there is one write of the gate. It is for virtual time: a gate
// has its deadlines.
func pipeGate(t *testing.T) (*gate, net.Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	theirs.SetDeadline(time.Now().Add(ingesttest.Patience))
	g := newGate(t.Context(), ours, Config{WriteTimeout: time.Second, Linger: ingesttest.Impatience}.withDefaults())
	t.Cleanup(func() {
		theirs.Close()
		g.Close()
		g.finish()
		g.hangUp()
	})
	return g, theirs
}

func readOne(t *testing.T, peer net.Conn) string {
	t.Helper()
	b := make([]byte, 1<<20)
	n, err := peer.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}

func TestAcksOfOneCommitLeaveInOneWrite(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, peer := pipeGate(t)
		first, second := make(receipt), make(receipt)
		g.acknowledge(first, []byte("a"), 1)
		g.note(first)
		g.Write([]byte("b"))
		g.acknowledge(second, []byte("c"), 1)
		g.Write([]byte("d"))
		first <- nil
		if got := readOne(t, peer); got != "ab" {
			t.Errorf("with the first receipt %q left, want ab", got)
		}
		second <- nil
		if got := readOne(t, peer); got != "cd" {
			t.Errorf("with the second receipt %q left, want cd", got)
		}
		g.Write([]byte("e"))
		if got := readOne(t, peer); got != "e" {
			t.Errorf("with nothing to wait for %q left, want e", got)
		}
	})
}

func TestClosedGateDeliversWhatIsDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, peer := pipeGate(t)
		r := make(receipt)
		g.acknowledge(r, []byte("ack"), 1)
		g.Close()
		r <- nil
		if got := readOne(t, peer); got != "ack" {
			t.Errorf("got %q", got)
		}
		if _, err := g.Write([]byte("late")); !errors.Is(err, net.ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
	})
}

func TestClosedGateDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, peer := pipeGate(t)
		g.acknowledge(make(receipt), []byte("ack"), 1)
		began := time.Now()
		g.Close()
		if n, err := peer.Read(make([]byte, 10)); err == nil {
			t.Errorf("%d bytes left without their receipt", n)
		}
		if waited := time.Since(began); waited != ingesttest.Impatience {
			t.Errorf("it was closed after %v", waited)
		}
	})
}

// A peer that reads nothing of what is sent to it costs a bounded queue and is
// cut off.
func TestWriterToStuckPeerIsCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := pipeGate(t)
		chunk := bytes.Repeat([]byte("x"), 64<<10)
		queued := 0
		for {
			g.waitRoom()
			if _, err := g.Write(chunk); err != nil {
				break
			}
			queued += len(chunk)
		}
		if queued > 2*(maxQueue+len(chunk)) { // waiting, and being written
			t.Errorf("%d bytes were queued", queued)
		}
	})
}

// So is one whose queue fills up while its own publishes cannot be committed:
// whoever writes to it must not wait for ever.
func TestWriterBehindStuckCommitIsReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, _ := pipeGate(t)
		g.note(make(receipt))
		for {
			g.waitRoom()
			if _, err := g.Write(make([]byte, 64<<10)); err != nil {
				break
			}
		}
	})
}

func TestSlowReaderIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, peer := pipeGate(t)
		g.Write(make([]byte, 6*maxWrite))
		for range 6 {
			<-time.After(900 * time.Millisecond) // of the second that it may take
			if _, err := io.ReadFull(peer, make([]byte, maxWrite)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestIdleGateKeepsNoLargeQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, peer := pipeGate(t)
		g.Write(make([]byte, 4*maxWrite))
		io.ReadFull(peer, make([]byte, 4*maxWrite))
		synctest.Wait()
		g.mu.Lock()
		defer g.mu.Unlock()
		if kept := cap(g.queue) + cap(g.spare); kept > keepQueue {
			t.Errorf("%d bytes are kept", kept)
		}
	})
}

// The goroutine that writes ends when there is nothing to write, and there is
// another when there is again.
func TestIdleGateWritesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, peer := pipeGate(t)
		for _, want := range []string{"one", "two", "three"} {
			if _, err := g.Write([]byte(want)); err != nil {
				t.Fatal(err)
			}
			if got := readOne(t, peer); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
			g.finish()
		}
	})
}

// What is queued behind a receipt that fails is forgotten, and so is what comes
// after that.
func TestNothingLeavesBehindAFailedReceipt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, peer := pipeGate(t)
		failing := make(receipt, 1)
		g.acknowledge(failing, []byte("first"), 1)
		g.acknowledge(nil, []byte("second"), 1)
		failing <- errors.New("disk is gone")
		g.finish()
		g.acknowledge(nil, []byte("third"), 1)
		if _, err := g.Write([]byte("fourth")); err == nil {
			t.Error("it takes more bytes")
		}
		g.finish()
		go g.hangUp()
		if got, err := io.ReadAll(peer); len(got) > 0 {
			t.Errorf("got %q, %v", got, err)
		}
	})
}
