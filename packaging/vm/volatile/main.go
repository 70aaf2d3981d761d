// Command volatile is a disk for power-cut tests: an NBD server whose disk is a
// file behind a volatile write cache. Writes stay in memory until a FLUSH, or go to
// the file with FUA. When the power is cut, a random part of the sectors that were
// not flushed reaches the file, and the rest is gone; then it serves again with what
// survived. The seed decides the part, as far as requests come in the same order.
//
//	volatile -disk FILE -socket S -control C [-seed N] [-lie] [-flush 20ms] [-keep 0] [-cache MiB]
//	echo cut | socat - UNIX:C        a line of JSON says what was lost
//	echo state | socat - UNIX:C      what is not flushed at present
//
// SIGUSR1 cuts the power as well and prints the line. Kill the virtual machine
// first: one that still runs would notice, and go on after its own death. SIGTERM
// writes everything and ends. The host's file system is not synced: it is not its
// power that is cut. With -lie flushes are answered, and nothing is done: the
// control, which shows that the test can fail.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"
)

// maxPeers bounds the connections, those to the control socket extra.
const maxPeers = 16

func main() {
	if err := run(os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "volatile:", err)
		}
		os.Exit(1)
	}
}

func run(args []string, out, diagnosis io.Writer) error {
	flags := flag.NewFlagSet("volatile", flag.ContinueOnError)
	flags.SetOutput(diagnosis)
	name := flags.String("disk", "", "the disk's `file`: its size is the disk's")
	socket := flags.String("socket", "", "`path` of the NBD server's socket")
	control := flags.String("control", "", "`path` of the socket that takes commands")
	seed := flags.Uint64("seed", 0, "decides what survives a cut; 0: one of its own, which is printed")
	lie := flags.Bool("lie", false, "answer flushes and do nothing")
	slow := flags.Duration("flush", 0, "how long a flush takes, as on a card: `20ms`")
	keep := flags.Float64("keep", -1, "`share`, from 0 to 1, of what is not flushed that a cut keeps; -1: at random")
	mib := flags.Int("cache", 256, "`MiB` of the cache; when it is full, everything goes to the file")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *name == "" || *socket == "" || *control == "" || *mib < 1 || *mib > 4096 {
		return errors.New("-disk, -socket and -control are needed, and -cache from 1 to 4096 — hint: volatile -help")
	}
	if *seed == 0 {
		*seed = rand.Uint64() | 1
	}
	d, err := open(*name, *mib<<20/sector, *seed, *lie)
	if err != nil {
		return err
	}
	d.slow, d.keep = *slow, *keep
	s := &server{disk: d, peers: make(map[net.Conn]bool)}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1)
	defer signal.Stop(signals)
	ready := func() { fmt.Fprintf(out, "%s: %d bytes, seed %d, lie %t\n", *name, d.size, *seed, *lie) }
	return errors.Join(s.serve(*socket, *control, signals, out, ready), d.close())
}

// server is the disk's two sockets.
type server struct {
	disk *disk
	gate sync.Mutex // held by a cut, and by who lets a peer in

	mu    sync.Mutex
	peers map[net.Conn]bool
	busy  sync.WaitGroup
}

// serve serves until a signal that is no SIGUSR1, and calls ready when clients can
// connect.
func (s *server) serve(socket, control string, signals <-chan os.Signal, out io.Writer, ready func()) error {
	disks, err := listen(socket)
	if err != nil {
		return err
	}
	defer disks.Close()
	commands, err := listen(control)
	if err != nil {
		return err
	}
	defer commands.Close()
	ended := make(chan error, 2)
	go func() { ended <- accept(disks, s.admit) }()
	go func() { ended <- accept(commands, s.obey) }()
	ready()
	for {
		select {
		case err := <-ended:
			return err
		case sig := <-signals:
			if sig != syscall.SIGUSR1 {
				s.gate.Lock() // for good: nobody is let in any more
				s.hangUp()
				return nil
			}
			s.command("cut", out)
		}
	}
}

// listen takes the place of a socket that a killed predecessor has left.
func listen(name string) (net.Listener, error) {
	if info, err := os.Lstat(name); err == nil && info.Mode()&os.ModeSocket != 0 {
		os.Remove(name)
	}
	return net.Listen("unix", name)
}

func accept(l net.Listener, take func(net.Conn)) error {
	for {
		peer, err := l.Accept()
		if err != nil {
			return err
		}
		take(peer)
	}
}

// admit serves a peer, unless there are too many; while the power is cut it waits.
func (s *server) admit(peer net.Conn) {
	s.gate.Lock()
	defer s.gate.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.peers) >= maxPeers {
		peer.Close()
		return
	}
	s.peers[peer] = true
	s.busy.Go(func() {
		if err := converse(s.disk, peer); err != nil && !errors.Is(err, net.ErrClosed) {
			fmt.Fprintln(os.Stderr, "volatile: a connection ended:", err)
		}
		peer.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.peers, peer)
	})
}

// hangUp ends all connections, and returns when none of them can write any more.
func (s *server) hangUp() {
	s.mu.Lock()
	for peer := range s.peers {
		peer.Close()
	}
	s.mu.Unlock()
	s.busy.Wait()
}

// obey takes commands, one a line. One peer at a time: the next one waits.
func (s *server) obey(peer net.Conn) {
	defer peer.Close()
	lines := bufio.NewScanner(io.LimitReader(peer, 4096))
	for peer.SetDeadline(time.Now().Add(10*time.Second)) == nil && lines.Scan() {
		s.command(lines.Text(), peer)
	}
}

func (s *server) command(line string, out io.Writer) {
	var answer any = map[string]string{"error": "commands are: cut, state"}
	switch line {
	case "cut":
		s.gate.Lock()
		s.disk.dead.Store(true)
		s.hangUp()
		s.disk.dead.Store(false)
		r, err := s.disk.cut()
		s.gate.Unlock()
		if answer = r; err != nil {
			answer = map[string]string{"error": err.Error()}
		}
	case "state":
		answer = s.disk.state()
	}
	_ = json.NewEncoder(out).Encode(answer) // who hung up does not want to know
}
