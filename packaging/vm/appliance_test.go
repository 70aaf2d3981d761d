package vm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// exposed is the most that "systemd-analyze security" may find, of 10.
const exposed = 1.5

// tree lists everything that a package could leave behind: names, owners, modes and
// links; in /run, which changes all the time, what has its name or no owner any more; users and
// groups; and what systemd would start.
const tree = `find / -xdev \( -path /root -o -path /tmp -o -path /var/tmp -o -path /var/cache -o -path /var/log \
	-o -path /var/lib/apt -o -path /var/lib/dpkg/\*-old -o -path /var/lib/dpkg/lock\* -o -path /var/lib/dpkg/triggers \
	-o -path /var/lib/systemd/random-seed -o -path /var/lib/systemd/timers -o -path /var/lib/private -o -path /etc/\*- \) -prune \
	-o -printf '%p %u:%g %m %l\n' | sort; find /run \( -name '*tidegate*' -o -nouser -o -nogroup \) -printf '%p %u:%g\n'; cat /etc/passwd /etc/group; SYSTEMD_BUS_TIMEOUT=10min systemctl list-unit-files --no-legend`

// TestAppliance installs the package on Debian 12, looks at everything that it
// promises, upgrades it, and removes it.
func TestAppliance(t *testing.T) {
	m := newMachine(t)
	took := m.boot()
	m.must("systemctl is-system-running --wait || systemctl --failed; cat /etc/debian_version")
	before := m.must(tree)
	fmt.Printf("%s: boot %v, apt install %v\n", m.arch, took.Round(100*time.Millisecond), m.install(m.deb()).Round(100*time.Millisecond))
	for _, step := range []struct {
		name string
		run  func(*machine)
	}{
		{"is started and enabled", (*machine).isStarted},
		{"is hardened", (*machine).isHardened},
		{"keeps to the memory of its unit", (*machine).keepsToMemory},
		{"owns what it should", (*machine).owns},
		{"answers", (*machine).answers},
		{"learns that the clock is set", (*machine).learnsOfTheClock},
		{"can be edited", (*machine).canBeEdited},
		{"comes back after kill -9", (*machine).comesBack},
		{"comes back when it hangs", (*machine).comesBackFromHanging},
		{"starts without its folder of secrets", (*machine).startsWithoutSecrets},
		{"gets a secret", (*machine).getsSecret},
		{"writes a journal", (*machine).writesJournal},
		{"keeps a change in an upgrade", (*machine).keepsChange},
		{"comes back after a reboot", (*machine).survivesReboot},
		{"keeps readings when it is removed", (*machine).keepsWhenRemoved},
	} {
		m.step(step.name, step.run)
	}
	m.step("leaves nothing when it is purged", func(m *machine) {
		m.must("apt-get purge -y tidegate; systemctl daemon-reload")
		if after := m.must(tree); after != before {
			m.Errorf("purge leaves: %s", difference(before, after))
		}
		if m.must("systemctl --failed --no-legend --plain | wc -l") != "0" {
			m.Errorf("units have failed: %s", m.must("systemctl --failed --no-legend --plain"))
		}
	})
}

// step runs a subtest on the machine.
func (m *machine) step(name string, run func(*machine)) {
	m.Run(name, func(t *testing.T) {
		inner := *m
		inner.T = t
		defer func() {
			m.power, m.boots = inner.power, inner.boots
			if t.Failed() {
				inner.explain()
			}
		}()
		run(&inner)
	})
}

// difference names the lines that only one of two texts has.
func difference(before, after string) string {
	var found strings.Builder
	had := map[string]bool{}
	for line := range strings.Lines(before) {
		had[line] = true
	}
	for line := range strings.Lines(after) {
		if !had[line] {
			fmt.Fprintf(&found, "\n+ %s", strings.TrimSpace(line))
		}
		delete(had, line)
	}
	for line := range had {
		fmt.Fprintf(&found, "\n- %s", strings.TrimSpace(line))
	}
	return found.String()
}

func (m *machine) isStarted() {
	m.active()
	m.must("systemctl is-enabled tidegate")
	if kind := m.property("Type"); kind != "notify" {
		m.Errorf("the unit's type is %s: it cannot say that it is ready", kind)
	}
	if n := m.count("NRestarts"); n != 0 {
		m.Errorf("it was started again %d times", n)
	}
	if limit := m.property("MemoryMax"); limit == "infinity" {
		m.Error("the unit has no MemoryMax")
	}
	fmt.Printf("%s: ready after %v, %d kB resident\n", m.arch, m.untilReady().Round(time.Millisecond), m.resident())
}

func (m *machine) isHardened() {
	said := m.must("systemd-analyze security --no-pager tidegate | tail -1")
	found := regexp.MustCompile(`: ([\d.]+) `).FindStringSubmatch(said)
	if found == nil {
		m.Fatalf("no score: %s", said)
	}
	score, err := strconv.ParseFloat(found[1], 64)
	if err != nil || score > exposed {
		m.Errorf("%s: at most %v %v", said, exposed, err)
	}
	m.Log(said)
}

// learnsOfTheClock has no time server: nobody sets the clock, until the test does. The unit that
// asks has to see it by itself, in its sandbox.
func (m *machine) learnsOfTheClock() {
	m.must("systemctl is-active tidegate-clock && ! tidegate clock && ! test -e /run/tidegate-clock/set")
	m.must(`tidegate status | head -1 | grep "clock unsynced"`)
	sets := m.give(m.build("setclock", append(m.goarch, "CGO_ENABLED=0")...))
	m.must("chmod 755 " + sets + "; " + sets + "; tidegate clock")
	m.eventually("it sees that the clock is set", "test -e /run/tidegate-clock/set")
	m.must(`tidegate status | head -1 | grep "clock synced"`)
	m.eventually("its unit has ended, and well", "systemctl show --value -p SubState tidegate-clock | grep -x exited")
	if got := m.must("stat -c '%U:%G' /run/tidegate-clock/set"); got != "tidegate:tidegate" {
		m.Errorf("the mark is %s's", got)
	}
}

func (m *machine) owns() {
	m.must("getent passwd tidegate | grep -q ':/var/lib/tidegate:.*nologin'")
	pid := m.property("MainPID")
	if user := m.must("stat -c %U:%G /proc/" + pid); user != "tidegate:tidegate" {
		m.Errorf("it runs as %s", user)
	}
	if groups := m.must("for g in $(grep Groups: /proc/" + pid + "/status | cut -f2); do getent group $g | cut -d: -f1; done"); groups != "dialout\ntidegate" {
		m.Errorf("it is in the groups %q, and should be in its own and dialout alone", groups)
	}
	for file, want := range map[string]string{
		"/etc/tidegate":               "tidegate:tidegate 755",
		"/etc/tidegate/tidegate.toml": "tidegate:tidegate 640",
		"/etc/credstore/tidegate":     "root:root 700",
		"/var/lib/tidegate":           "tidegate:tidegate 750",
		"/usr/bin/tidegate":           "root:root 755",
	} {
		if got := m.must("stat -c '%U:%G %a' " + file); got != want {
			m.Errorf("%s is %s, not %s", file, got, want)
		}
	}
	if loose := m.must("find /var/lib/tidegate -type f -perm /077"); loose != "" {
		m.Errorf("others can read, or write:\n%s", loose)
	}
}

func (m *machine) answers() {
	m.must("tidegate status")
	m.must("tidegate check")
	if said := m.must("tidegate setup-code"); !regexp.MustCompile(`\b[A-Z0-9]{5}-`).MatchString(said) {
		m.Errorf("no code to set it up with: %s", said)
	}
	m.must("/usr/lib/apt/apt-helper download-file http://127.0.0.1:8080/ /tmp/page && grep -qi '<title>' /tmp/page")
}

// entries returns what the unit's journal has, from a cursor on.
func (m *machine) entries(options string) (all []map[string]any) {
	m.Helper()
	for line := range strings.Lines(m.must("journalctl -o json --no-pager " + options)) {
		var entry map[string]any
		if err := json.Unmarshal([]byte(line), &entry); err != nil {
			m.Fatalf("%v: %s", err, line)
		}
		all = append(all, entry)
	}
	return all
}

// writesJournal looks at what the gateway has written so far: its start, and that the
// cloud refused it.
func (m *machine) writesJournal() {
	m.must("journalctl --sync")
	levels, fields := map[string]int{}, 0
	for _, e := range m.entries("_SYSTEMD_UNIT=tidegate.service") {
		levels[fmt.Sprint(e["PRIORITY"])]++
		if e["_TRANSPORT"] != "journal" {
			continue
		}
		if e["SYSLOG_IDENTIFIER"] != "tidegate" {
			m.Errorf("an entry of somebody else: %v", e)
		}
		for name := range e {
			if strings.HasPrefix(name, "TIDEGATE_") {
				fields++
				break
			}
		}
	}
	if levels["6"] == 0 || levels["4"] == 0 || fields == 0 {
		m.Errorf("entries by priority: %v, %d have fields of their own", levels, fields)
	}
	m.Logf("entries by priority: %v, %d with fields of their own", levels, fields)
}

// canBeEdited is what a technician does first: an editor, or a shell, opens the file
// to write, as root. fs.protected_regular stops even root where somebody else's file is in
// a sticky folder that a group can write to.
func (m *machine) canBeEdited() {
	m.must("echo '# seen' >>/etc/tidegate/tidegate.toml; tidegate reload")
}

// restarts does something that the gateway does not survive, and waits until systemd has
// started another.
func (m *machine) restarts(what, script string) {
	m.Helper()
	before, begun := m.property("MainPID"), time.Now()
	m.must("pid=" + before + "; " + script)
	m.eventually("another gateway runs", `systemctl is-active tidegate && [ "$(systemctl show --value -p MainPID tidegate)" != `+before+` ]`)
	m.must("tidegate status")
	m.Logf("%s: another gateway is ready after %v", what, time.Since(begun).Round(100*time.Millisecond))
}

func (m *machine) comesBack() {
	before := m.count("NRestarts")
	m.restarts("kill -9", "kill -9 $pid")
	if n := m.count("NRestarts"); n != before+1 {
		m.Errorf("systemd has started it again %d times, not once", n-before)
	}
}

// comesBackFromHanging stops the process, as a deadlock would. The unit's watchdog is made
// quicker for the time being: what it waits for is not what is tested.
func (m *machine) comesBackFromHanging() {
	limit := m.property("WatchdogUSec")
	if limit == "0" || limit == "infinity" {
		m.Error("the unit has no watchdog")
		return
	}
	undo := m.dropIn("WatchdogSec=30s")
	m.restarts("stopped with SIGSTOP, a watchdog of 30 s instead of "+limit, "kill -STOP $pid")
	m.must("journalctl -b --no-pager | grep 'tidegate.service: Watchdog timeout'")
	undo()
}

// dropIn changes a line of the unit, until the function that it returns is called.
func (m *machine) dropIn(line string) (undo func()) {
	m.Helper()
	const folder = "/run/systemd/system/tidegate.service.d"
	again := "; systemctl daemon-reload; systemctl restart tidegate"
	m.must("mkdir -p " + folder + "; printf '[Service]\\n" + line + "\\n' >" + folder + "/test.conf" + again)
	m.active()
	return func() {
		m.Helper()
		m.must("rm -r " + folder + again)
		m.active()
	}
}

// keepsToMemory has the kernel leave the gateway less than its heap would take: it has to find
// that out in its sandbox, and leave a fifth of it to what is no heap.
func (m *machine) keepsToMemory() {
	heaps := func() (all []string) {
		for _, e := range m.entries("_SYSTEMD_INVOCATION_ID=" + m.property("InvocationID")) {
			if said := fmt.Sprint(e["MESSAGE"]); strings.Contains(said, "control group") {
				all = append(all, fmt.Sprint(e["TIDEGATE_LIMIT"], " leaves ", e["TIDEGATE_COUNTS"]))
			}
		}
		return all
	}
	if told := heaps(); told != nil {
		m.Errorf("the unit's own limit is too small for the heap: %q", told)
	}
	undo := m.dropIn("MemoryMax=40M")
	if max := m.must("cat /sys/fs/cgroup/system.slice/tidegate.service/memory.max"); max != "41943040" {
		m.Errorf("the kernel's limit is %s", max)
	}
	m.eventually("it tells of its memory", "journalctl --sync; journalctl -u tidegate --no-pager | grep 'control group'")
	if told := heaps(); !slices.Equal(told, []string{"40.0MiB leaves 32.0MiB"}) {
		m.Errorf("of 40 MiB: %q", told)
	}
	undo()
}

func (m *machine) startsWithoutSecrets() {
	m.must("mv /etc/credstore/tidegate /var/tmp/credentials && systemctl restart tidegate")
	m.active()
	m.must("rm -rf /etc/credstore/tidegate; mv /var/tmp/credentials /etc/credstore/tidegate && systemctl restart tidegate")
	m.active()
}

// getsSecret has the gateway show a token, which only root can read on its machine,
// to the cloud.
func (m *machine) getsSecret() {
	const secret = "k3ep-th1s"
	shown := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case shown <- r.Header.Get("Authorization"):
		default:
		}
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer server.Close()
	m.write("/etc/credstore/tidegate/cloud-token", "root", "600", secret)
	m.must("cp -a /etc/tidegate/tidegate.toml /var/tmp/")
	m.configure(m.site(m.outside(server.Listener.Addr())+"/v1/ingest", "token_file = \"credential:cloud-token\""))
	m.publish(firmwaresim.FleetConfig{QoS: 1, Count: 1}, nil)
	select {
	case got := <-shown:
		if got != "Bearer "+secret {
			m.Errorf("the cloud was shown %q", got)
		}
	case <-time.After(m.patience()):
		m.Error("the cloud was shown nothing")
	}
	m.eventually("a warning in the journal", "journalctl -q --no-pager -p warning _SYSTEMD_UNIT=tidegate.service | grep .")
	m.must("cp -a --remove-destination /var/tmp/tidegate.toml /etc/tidegate/; rm /etc/credstore/tidegate/cloud-token; systemctl restart tidegate")
	m.active()
}

func (m *machine) keepsChange() {
	m.configure("[gateway]\nid = \"kept-7\"\n")
	before, pid := m.must("cat /etc/tidegate/tidegate.toml"), m.property("MainPID")
	m.install(m.repack("9.9.9"))
	m.active()
	if got := m.installed(); got != "9.9.9" {
		m.Errorf("version %s is installed", got)
	}
	if after := m.must("cat /etc/tidegate/tidegate.toml"); after != before {
		m.Errorf("the configuration was\n%s\nand is\n%s", before, after)
	}
	if m.property("MainPID") == pid {
		m.Error("the old program still runs")
	}
	m.must("tidegate status | grep kept-7")
	m.owns()
}

func (m *machine) survivesReboot() {
	m.must("sync")
	m.shutDown()
	took := m.boot()
	m.active()
	m.must("tidegate status | grep kept-7")
	m.Logf("boot %v", took.Round(100*time.Millisecond))
}

// keepsWhenRemoved looks for readings, which nobody has taken, in what another installation
// finds.
func (m *machine) keepsWhenRemoved() {
	m.configure(m.site("http://"+inside+":9/", ""))
	m.publish(firmwaresim.FleetConfig{Prefix: "kept-", QoS: 1, Count: 50}, nil)
	m.must("systemctl stop tidegate")
	const kept = "tidegate buffer export | sort | sha256sum; tidegate buffer ls -json | grep '^  \"readings\"'; tidegate buffer peek -n 1000 | grep -c kept-"
	before := m.must(kept)
	m.must("apt-get remove -y tidegate")
	m.must("test -e /etc/tidegate/tidegate.toml && test -d /var/lib/tidegate/journal")
	m.must("! systemctl is-active tidegate && ! test -e /usr/bin/tidegate && ! pgrep -x tidegate")
	m.install(m.deb())
	m.active()
	m.must("systemctl stop tidegate")
	if after := m.must(kept); after != before {
		m.Errorf("readings were\n%s\nand are\n%s", before, after)
	}
	m.Log(before)
	m.must("apt-get remove -y tidegate")
}
