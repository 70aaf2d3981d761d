package vm

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// inside is this machine's name in the virtual one.
const inside = "10.0.2.2"

// debs returns the folder with the packages that "make deb" has built.
func (m *machine) debs() string {
	return cmp.Or(os.Getenv("TIDEGATE_VM_DEBS"), filepath.Join("..", "..", "dist"))
}

// deb returns the gateway's package for the machine.
func (m *machine) deb() string {
	m.Helper()
	found, err := filepath.Glob(filepath.Join(m.debs(), "tidegate_*_"+m.arch+".deb"))
	if err != nil || len(found) != 1 {
		m.Fatalf("%d packages tidegate_*_%s.deb in %s %v — hint: make deb", len(found), m.arch, m.debs(), err)
	}
	return found[0]
}

// give puts a file into the machine, and returns its name there.
func (m *machine) give(file string) string {
	m.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) }))
	defer server.Close()
	to := "/var/tmp/" + filepath.Base(file)
	m.must("rm -f " + to + "; /usr/lib/apt/apt-helper download-file " + m.outside(server.Listener.Addr()) + "/ " + to)
	return to
}

// outside is the URL at which the machine finds a listener on loopback of this one.
func (m *machine) outside(addr net.Addr) string {
	return fmt.Sprintf("http://%s:%d", inside, addr.(*net.TCPAddr).Port)
}

// install installs a package as its user would, and returns how long apt took.
func (m *machine) install(file string) time.Duration {
	m.Helper()
	file = m.give(file)
	begun := time.Now()
	m.must("DEBIAN_FRONTEND=noninteractive apt-get install -y -o Dpkg::Options::=--force-confold " + file)
	return time.Since(begun)
}

// repack returns the gateway's package with another version: nothing else differs.
func (m *machine) repack(version string) string {
	m.Helper()
	folder := m.file("repacked")
	file := m.file("tidegate_" + version + "_" + m.arch + ".deb")
	for _, args := range [][]string{
		{"dpkg-deb", "-R", m.deb(), folder},
		{"sed", "-i", "s/^Version: .*/Version: " + version + "/", filepath.Join(folder, "DEBIAN", "control")},
		{"dpkg-deb", "--root-owner-group", "-Znone", "-b", folder, file},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			m.Fatalf("%v: %v\n%s", args, err, out)
		}
	}
	if err := os.RemoveAll(folder); err != nil {
		m.Fatal(err)
	}
	return file
}

// previous returns the package to upgrade from: the one that PREVIOUS names, whose version must
// be lower, or else this one under a lower version.
func (m *machine) previous() string {
	m.Helper()
	file := os.Getenv("PREVIOUS")
	if file == "" {
		return m.repack("0.0.1~before")
	}
	if err := exec.Command("dpkg", "--compare-versions", m.version(file), "lt", m.version(m.deb())).Run(); err != nil {
		m.Fatalf("PREVIOUS=%s has version %s, and %s is to be an upgrade: %v", file, m.version(file), m.version(m.deb()), err)
	}
	return file
}

// version is that of a package.
func (m *machine) version(file string) string {
	m.Helper()
	out, err := exec.Command("dpkg-deb", "-f", file, "Version").Output()
	if err != nil {
		m.Fatalf("%s: %v", file, err)
	}
	return strings.TrimSpace(string(out))
}

// installed is the version that the machine has.
func (m *machine) installed() string {
	m.Helper()
	return m.must("dpkg-query -W -f '${Version}' tidegate")
}

// configure replaces the gateway's configuration, and lets it take effect. A unit that falls
// back would run with the last one, if this could not be used.
func (m *machine) configure(text string) {
	m.Helper()
	m.write("/etc/tidegate/tidegate.toml", "tidegate", "640", text)
	m.must("systemctl restart tidegate")
	m.active()
	m.must("tidegate check")
	if said := m.must("tidegate status"); strings.Contains(said, "last good configuration") {
		m.Fatalf("the configuration is not in effect:\n%s", said)
	}
}

// write replaces a file of the machine.
func (m *machine) write(file, owner, mode, text string) {
	m.Helper()
	m.must("cat >/var/tmp/written <<'END OF FILE'\n" + strings.TrimSuffix(text, "\n") + "\nEND OF FILE\n" +
		"install -o " + owner + " -g " + owner + " -m " + mode + " /var/tmp/written " + file + "; rm /var/tmp/written; sync")
}

// active waits until the gateway is started.
func (m *machine) active() {
	m.Helper()
	m.eventually("the gateway is active", "systemctl is-active tidegate || { systemctl status --no-pager tidegate; false; }")
}

// property asks systemd about the gateway's unit.
func (m *machine) property(name string) string {
	m.Helper()
	return m.must("systemctl show --value -p " + name + " tidegate")
}

// count is a property that is a number.
func (m *machine) count(name string) int {
	m.Helper()
	text := m.property(name)
	n, err := strconv.Atoi(text)
	if err != nil {
		m.Fatalf("%s=%s: %v", name, text, err)
	}
	return n
}

// untilReady is how long the gateway's process took from its start to saying that
// it is ready.
func (m *machine) untilReady() time.Duration {
	m.Helper()
	return time.Duration(m.count("ActiveEnterTimestampMonotonic")-m.count("ExecMainStartTimestampMonotonic")) * time.Microsecond
}

// resident is the memory of the gateway's process, in kB.
func (m *machine) resident() int {
	m.Helper()
	text := m.must("grep VmRSS /proc/" + m.property("MainPID") + "/status")
	n, err := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(text))
	if err != nil {
		m.Fatal(err)
	}
	return n
}
