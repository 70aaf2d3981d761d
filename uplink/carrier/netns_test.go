package carrier

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/internal/rerun"
)

// The tests in this file's manner need networks of their own: a test runs itself
// again in a new network namespace, with its peer in another one, and cables
// (veth) between them that can be pulled.

// Roles that this test binary has when a test runs it again.
const (
	roleVariable  = "CARRIER_TEST_ROLE"
	rolePeer      = "peer"      // serves in a namespace of its own
	roleBystander = "bystander" // keeps a namespace alive: a router
	roleApart     = "apart"     // the test itself
)

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case rolePeer:
		servePeer()
	case roleBystander:
		fmt.Println("ready")
		io.Copy(io.Discard, os.Stdin)
	default:
		leaktest.Main(m)
	}
}

// nets are the namespaces of one test, seen from the gateway's.
type nets struct {
	t    *testing.T
	peer int // the process in the peer's
}

// hub is the peer's address, which all its cables lead to.
const hub = "10.99.0.1"

// apart runs the test in a network of its own. It returns nil in the process
// that the test began in, which has nothing more to do then.
func apart(t *testing.T) *nets {
	t.Helper()
	for tool, pkg := range map[string]string{"ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the command %s is missing: apt-get install %s", tool, pkg)
		}
	}
	if os.Getenv(roleVariable) == roleApart {
		n := &nets{t: t}
		n.run("ip", "link", "set", "lo", "up")
		n.peer = n.spawn(rolePeer)
		n.inside(n.peer, "ip", "link", "set", "lo", "up")
		n.inside(n.peer, "ip", "address", "add", hub+"/32", "dev", "lo")
		return n
	}
	if os.Getuid() != 0 {
		t.Skip("networks of its own need root")
	}
	t.Parallel() // they wait most of the time
	cmd := exec.Command("unshare", slices.Concat([]string{"--net"}, rerun.Program(), []string{"-test.run=^" + t.Name() + "$", "-test.v", "-test.timeout=150s"})...)
	cmd.Env = append(os.Environ(), roleVariable+"="+roleApart)
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	switch {
	case err != nil:
		t.Fatalf("in a network of its own: %v", err)
	case strings.Contains(string(out), "--- SKIP"):
		t.Skip("in a network of its own")
	}
	return nil
}

// spawn starts this binary in a new namespace.
func (n *nets) spawn(role string) (pid int) {
	n.t.Helper()
	cmd := exec.Command("unshare", slices.Concat([]string{"--net"}, rerun.Program())...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	if err1 != nil || err2 != nil {
		n.t.Fatal(err1, err2)
	}
	if err := cmd.Start(); err != nil {
		n.t.Skipf("no new network namespace: %v", err)
	}
	n.t.Cleanup(func() {
		in.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		n.t.Fatalf("%s said %q, %v", role, line, err)
	}
	return cmd.Process.Pid
}

// run runs a command in the gateway's namespace.
func (n *nets) run(name string, args ...string) {
	n.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

// inside runs a command in the namespace of another process.
func (n *nets) inside(pid int, name string, args ...string) {
	n.t.Helper()
	n.run("nsenter", append([]string{"-t", strconv.Itoa(pid), "-n", name}, args...)...)
}

// cable lays a cable from the interface name here, which gets 10.9.number.1, to
// the peer, and a route to the hub over it. What is on it can be counted exactly:
// neighbours are known, and no packet is left to the hardware to cut.
func (n *nets) cable(name string, number int) {
	n.t.Helper()
	n.lay(name, 0, "p-"+name, n.peer, number)
	n.run("ip", "route", "add", hub, "via", fmt.Sprintf("10.9.%d.2", number), "dev", name, "metric", strconv.Itoa(10*number))
}

// lay connects an interface of one namespace with one of another; here is 0 for
// the gateway's.
func (n *nets) lay(name string, here int, other string, there, number int) {
	n.t.Helper()
	at := func(pid int, args ...string) {
		if pid == 0 {
			n.run("ip", args...)
		} else {
			n.inside(pid, "ip", args...)
		}
	}
	a, b := fmt.Sprintf("10.9.%d.1", number), fmt.Sprintf("10.9.%d.2", number)
	macA, macB := fmt.Sprintf("02:00:00:00:%02x:01", number), fmt.Sprintf("02:00:00:00:%02x:02", number)
	at(here, "link", "add", name, "address", macA, "type", "veth", "peer", "name", other, "address", macB)
	at(here, "link", "set", other, "netns", strconv.Itoa(there))
	for _, end := range []struct {
		pid                      int
		name, own, far, neighbor string
	}{{here, name, a, b, macB}, {there, other, b, a, macA}} {
		at(end.pid, "link", "set", end.name, "up", "addrgenmode", "none", "gso_max_segs", "1")
		at(end.pid, "address", "add", end.own+"/24", "dev", end.name)
		at(end.pid, "neighbor", "replace", end.far, "lladdr", end.neighbor, "dev", end.name, "nud", "permanent")
	}
}

// blackhole lets everything to the peer over the cable vanish, or not.
func (n *nets) blackhole(number int, on bool) {
	n.t.Helper()
	if on { // the routes of the answers go with the address
		n.inside(n.peer, "ip", "route", "add", "blackhole", fmt.Sprintf("10.9.%d.1/32", number))
	} else {
		n.inside(n.peer, "ip", "route", "del", "blackhole", fmt.Sprintf("10.9.%d.1/32", number))
	}
}

// wire returns what an interface of this namespace has sent and received at the
// IP level, by the kernel's own count.
func (n *nets) wire(name string) passed {
	n.t.Helper()
	text, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		n.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		before, after, _ := strings.Cut(line, ":")
		if strings.TrimSpace(before) != name {
			continue
		}
		var f [16]int64
		for i, word := range strings.Fields(after) {
			f[i], _ = strconv.ParseInt(word, 10, 64)
		}
		return passed{sent: f[8] - 14*f[9], received: f[0] - 14*f[1]}
	}
	n.t.Fatalf("no interface %s", name)
	return passed{}
}

// sentAgain returns how many segments the peer has sent more than once.
func (n *nets) sentAgain() int64 {
	n.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/snmp", n.peer))
	if err != nil {
		n.t.Fatal(err)
	}
	var names []string
	for line := range strings.Lines(string(text)) {
		fields, isTCP := strings.CutPrefix(line, "Tcp:")
		switch {
		case !isTCP:
		case names == nil: // the line of names comes first
			names = strings.Fields(fields)
		default:
			again, err := strconv.ParseInt(strings.Fields(fields)[slices.Index(names, "RetransSegs")], 10, 64)
			if err != nil {
				n.t.Fatal(err)
			}
			return again
		}
	}
	n.t.Fatal("the kernel does not say what was sent again")
	return 0
}

// Ports of the peer.
const (
	portEcho    = "7"
	portDiscard = "9"
	portGive    = "19" // gives as many bytes as it is asked for, in 8 bytes
	portNames   = "53"
	portSecure  = "443" // echoes over TLS, with a certificate of its own
)

// servePeer serves on all addresses until its standard input ends.
func servePeer() {
	serve := func(port string, handle func(net.Conn)) {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					handle(c)
					c.Close()
				}()
			}
		}()
	}
	serve(portEcho, func(c net.Conn) { io.Copy(c, c) })
	serve(portDiscard, func(c net.Conn) { io.Copy(io.Discard, c) })
	serve(portGive, func(c net.Conn) {
		var n [8]byte
		for {
			if _, err := io.ReadFull(c, n[:]); err != nil {
				return
			}
			c.Write(make([]byte, binary.BigEndian.Uint64(n[:])))
		}
	})
	certificate := selfSigned()
	serve(portSecure, func(c net.Conn) {
		secure := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{certificate}})
		io.Copy(secure, secure)
		secure.Close()
	})
	names, err := net.ListenPacket("udp4", ":"+portNames)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	go answerNames(names)
	fmt.Println("ready")
	io.Copy(io.Discard, os.Stdin)
}

func selfSigned() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{SerialNumber: big.NewInt(1)}, &x509.Certificate{SerialNumber: big.NewInt(1)}, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// answerNames answers every question for an A record with the hub's address, and
// every other one with nothing.
func answerNames(c net.PacketConn) {
	buf := make([]byte, 1500)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		end := 12
		for end < n && buf[end] != 0 {
			end += int(buf[end]) + 1
		}
		if end += 5; end > n {
			continue
		}
		answer := append([]byte{}, buf[:end]...)
		copy(answer[2:12], []byte{0x81, 0x80, 0, 1, 0, 0, 0, 0, 0, 0})
		if answer[end-3] == 1 { // A
			answer[7] = 1
			answer = append(answer, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4)
			answer = append(answer, net.ParseIP(hub).To4()...)
		}
		c.WriteTo(answer, from)
	}
}
