package vm

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/internal/base/porttest"
)

// recipe is how qemu is run for an architecture.
type recipe struct {
	program, machine, cpu, console string
	// goarch is how Go is told to build for it.
	goarch []string
	// slow multiplies patience where every instruction is emulated, on a machine that
	// others want, too.
	slow time.Duration
}

// recipes returns that of an architecture as Debian calls it.
func recipes() map[string]recipe {
	return map[string]recipe{
		"amd64": {"qemu-system-x86_64", "q35", "qemu64", "ttyS0", []string{"GOARCH=amd64"}, 10},
		"arm64": {"qemu-system-aarch64", "virt", "cortex-a53", "ttyAMA0", []string{"GOARCH=arm64"}, 15},
		"armhf": {"qemu-system-arm", "virt,highmem=off", "cortex-a15", "ttyAMA0", []string{"GOARCH=arm", "GOARM=7"}, 20},
	}
}

// machine is a computer with Debian, and what is around it. Its disk outlives its
// power.
type machine struct {
	*testing.T
	recipe
	arch    string
	image   string   // folder with vmlinuz, initrd and root.ext4
	dir     string   // of its sockets, its disk and what it says
	disk    disk     // what it boots from
	devices []string // more arguments of qemu
	only    string   // more arguments of the kernel
	ports   [][2]string
	power   *power // nil: off
	boots   int
}

// power is one life of a machine, from switching it on to the end of qemu.
type power struct {
	qemu  *exec.Cmd
	on    time.Time
	ended chan struct{} // closed when qemu has ended
	agent *agent
	qmp   *qmp
}

// chosen skips the test unless TIDEGATE_VM names an architecture, and qemu for it
// is installed. It returns the architecture.
func chosen(t *testing.T) string {
	t.Helper()
	arch := os.Getenv("TIDEGATE_VM")
	if arch == "" {
		t.Skip("TIDEGATE_VM=amd64, arm64 or armhf boots virtual machines: make vm")
	}
	how, ok := recipes()[arch]
	if !ok {
		t.Fatalf("TIDEGATE_VM=%s: there are amd64, arm64 and armhf", arch)
	}
	for _, tool := range []string{how.program, "mmdebstrap", "dpkg-deb"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing — hint: apt-get install qemu-system-x86 qemu-system-arm mmdebstrap dpkg", tool)
		}
	}
	return arch
}

// newMachine returns a machine that is off, with Debian on its disk. more are
// arguments for qemu.
func newMachine(t *testing.T, more ...string) *machine {
	t.Helper()
	arch := chosen(t)
	dir, err := os.MkdirTemp("", "vm") // shorter than TempDir: a socket's path is limited
	if err != nil {
		t.Fatal(err)
	}
	m := &machine{T: t, recipe: recipes()[arch], arch: arch, dir: dir, devices: more}
	t.Cleanup(func() {
		if m.Failed() {
			m.Logf("last words of the machine:\n%s", tail(m.console(), 4000))
			m.Logf("all of the machine is kept: %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			m.Error(err)
		}
	})
	m.image = m.makeImage()
	for _, port := range []string{"1883", "8080"} {
		m.ports = append(m.ports, [2]string{port, porttest.For(t)})
	}
	m.disk = m.newPlainDisk()
	t.Cleanup(m.cut)
	return m
}

// makeImage runs the recipe of the disk, which keeps what it makes.
func (m *machine) makeImage() string {
	m.Helper()
	var said bytes.Buffer
	cmd := exec.Command("./image", m.arch)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 3 {
		m.Skipf("no image: %s", &said)
	}
	if err != nil {
		m.Fatalf("image: %v\n%s", err, &said)
	}
	return strings.TrimSpace(string(out))
}

// build builds the program of a folder here: for this machine, or with other settings of
// the environment for another.
func (m *machine) build(folder string, env ...string) string {
	m.Helper()
	program := m.file(folder)
	cmd := exec.Command("go", "build", "-o", program, "./"+folder)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		m.Fatalf("%s: %v\n%s", folder, err, out)
	}
	return program
}

// patience is how long anything may take that should happen at all.
func (m *machine) patience() time.Duration {
	if m.accelerated() {
		return time.Minute
	}
	return m.slow * time.Minute
}

// accelerated says whether this machine's processor runs the guest's code itself. A
// /dev/kvm that belongs to a kernel that is a guest without such a processor runs
// only kernels that know of it, and Debian's does not.
func (m *machine) accelerated() bool {
	if want := os.Getenv("TIDEGATE_VM_ACCEL"); want != "" {
		return want == "kvm"
	}
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	kvm.Close()
	flags, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && m.arch == runtime.GOARCH &&
		(m.arch != "amd64" || regexp.MustCompile(`(?m)^flags\s.* (vmx|svm)\b`).Match(flags))
}

// address returns where a port of the machine is reached from outside.
func (m *machine) address(port string) string {
	i := slices.IndexFunc(m.ports, func(p [2]string) bool { return p[0] == port })
	return m.ports[i][1]
}

// start switches the machine on, and does not wait for anything.
func (m *machine) start() {
	m.Helper()
	m.boots++
	p := &power{ended: make(chan struct{}), on: time.Now()}
	hands, talk := m.listen("agent"), m.listen("qmp")
	defer hands.Close()
	defer talk.Close()
	p.qemu = exec.Command(m.program, m.arguments()...)
	said, err := os.OpenFile(m.file("qemu.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		m.Fatal(err)
	}
	p.qemu.Stdout, p.qemu.Stderr = said, said
	p.qemu.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // of a test that panics
	err = p.qemu.Start()
	said.Close()
	if err != nil {
		m.Fatal(err)
	}
	go func() {
		_ = p.qemu.Wait() // being killed is no failure
		close(p.ended)
	}()
	m.power = p
	// qemu connects while it starts, in this order or the other.
	deadline := time.Now().Add(m.patience())
	for _, l := range []*net.UnixListener{hands, talk} {
		if err := l.SetDeadline(deadline); err != nil {
			m.Fatal(err)
		}
	}
	toAgent, err := hands.Accept()
	if err == nil {
		p.agent = newAgent(toAgent)
		var toQEMU net.Conn
		if toQEMU, err = talk.Accept(); err == nil {
			p.qmp, err = newQMP(toQEMU)
		}
	}
	if err != nil {
		m.Fatalf("qemu did not start: %v\n%s", err, m.read("qemu.log"))
	}
}

func (m *machine) arguments() []string {
	accel, cpu := "tcg,thread=multi", m.cpu
	if m.accelerated() {
		accel, cpu = "kvm", "host"
	}
	args := []string{"-M", m.machine, "-accel", accel, "-cpu", cpu, "-smp", "2", "-m", "512",
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", filepath.Join(m.image, "vmlinuz"), "-initrd", filepath.Join(m.image, "initrd"),
		"-append", "console=" + m.recipe.console + " root=/dev/vda ro quiet mitigations=off no_timer_check nokaslr net.ifnames=0 systemd.show_status=0 " + m.only,
		"-chardev", "file,id=console,append=on,path=" + m.file("console.log"), "-serial", "chardev:console",
		"-chardev", "socket,id=agent,path=" + m.file("agent"), "-device", "virtio-serial-pci",
		"-device", "virtserialport,chardev=agent,name=agent",
		"-chardev", "socket,id=qmp,path=" + m.file("qmp"), "-mon", "chardev=qmp,mode=control",
		"-device", "virtio-rng-pci", "-drive", m.disk.drive() + ",id=disk,if=none", "-device", "virtio-blk-pci,drive=disk,write-cache=on",
		"-device", "virtio-net-pci,netdev=outside", "-netdev", m.network()}
	return append(args, m.devices...)
}

// network lets the machine call this one at 10.0.2.2, and be called on loopback.
func (m *machine) network() string {
	netdev := "user,id=outside"
	for _, p := range m.ports {
		netdev += fmt.Sprintf(",hostfwd=tcp:%s-:%s", p[1], p[0])
	}
	return netdev
}

func (m *machine) file(name string) string { return filepath.Join(m.dir, name) }

func (m *machine) read(name string) string {
	text, err := os.ReadFile(m.file(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.Error(err)
	}
	return string(text)
}

// console is everything that the machine's lives have said.
func (m *machine) console() string { return m.read("qemu.log") + m.read("console.log") }

func (m *machine) listen(name string) *net.UnixListener {
	m.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: m.file(name), Net: "unix"})
	if err != nil {
		m.Fatal(err)
	}
	return l
}

// boot switches the machine on and waits until it takes commands. It returns how
// long that took.
func (m *machine) boot() time.Duration {
	m.Helper()
	m.start()
	m.awaitAgent()
	return time.Since(m.power.on)
}

func (m *machine) awaitAgent() {
	m.Helper()
	select {
	case <-m.power.agent.ready:
	case <-m.power.ended:
		m.Fatal("qemu has ended while the machine was starting")
	case <-time.After(m.patience()):
		m.Fatalf("the machine did not start within %v", m.patience())
	}
}

// cut takes the power away at once: nothing is told, nothing is flushed.
func (m *machine) cut() {
	m.Helper()
	if m.power == nil {
		return
	}
	if err := m.power.qemu.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		m.Fatal(err)
	}
	<-m.power.ended
	m.power.agent.Close()
	m.power.qmp.Close()
	m.power = nil
	m.disk.cut()
}

// pass lets time pass where the instant of an accident is the point of a test.
func (m *machine) pass(d time.Duration) {
	m.Helper()
	select {
	case <-time.After(d):
	case <-m.power.ended:
		m.Fatal("qemu has ended by itself")
	}
}

// shutDown ends the machine as it should be ended, which keeps everything.
func (m *machine) shutDown() {
	m.Helper()
	// It may be off before it has answered.
	if code, said, err := m.power.agent.run("systemctl poweroff --no-block", m.patience()); err == nil && code != 0 {
		m.Fatalf("poweroff: exit code %d\n%s", code, said)
	}
	select {
	case <-m.power.ended:
	case <-time.After(m.patience()):
		m.Fatalf("the machine did not stop within %v", m.patience())
	}
	m.power.agent.Close()
	m.power.qmp.Close()
	m.power = nil
}

// try runs a script as root in the machine, and returns its exit code and what it
// said, without spaces around it.
func (m *machine) try(script string) (int, string) {
	m.Helper()
	code, said, err := m.power.agent.run(script, m.patience())
	if err != nil {
		m.Fatalf("%s: %v", script, err)
	}
	return code, strings.TrimSpace(said)
}

// explain logs what the machine says of the gateway, if it still says anything.
func (m *machine) explain() {
	m.Helper()
	if m.power == nil {
		return
	}
	select {
	case <-m.power.agent.ready:
		_, said, err := m.power.agent.run("uptime; systemctl status --no-pager -n 0 tidegate; journalctl --no-pager -n 60 -u tidegate; dmesg | tail -5; ss -ltn; df /", m.patience())
		m.Logf("%v %s", err, said)
	default:
		m.Log("the machine has not come as far as its agent")
	}
}

// must runs a script whose every command has to succeed, and returns what it said.
func (m *machine) must(script string) string {
	m.Helper()
	code, said := m.try("set -e\n" + script)
	if code != 0 {
		m.Fatalf("%s: exit code %d\n%s", script, code, said)
	}
	return said
}

// eventually waits until a script succeeds in the machine.
func (m *machine) eventually(what, script string) string {
	m.Helper()
	return m.must(m.timed(what, script))
}

// timed is a script that tries another until that succeeds, or too long.
func (m *machine) timed(what, script string) string {
	return fmt.Sprintf("end=$(($(date +%%s) + %d))\nuntil said=$(\n%s\n); do\n"+
		"if [ $(date +%%s) -gt $end ]; then echo 'not in time: %s'; echo \"$said\"; exit 1; fi; sleep 0.2; done; echo \"$said\"",
		int(m.patience()/2/time.Second), script, what)
}

func tail(text string, n int) string { return text[max(0, len(text)-n):] }
