package vm

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// cardFile is a provisioning file; its secrets must not be told.
const cardFile = `[gateway]
id = "farm-{machine}"
[ingest.mqtt]
password_file = "/etc/tidegate/passwords"
[[uplink.http]]
name = "cloud"
url = "https://cloud.invalid/v1/ingest"
token_file = "credential:cloud.token"
[credential]
"cloud.token" = "s3cret-token"
[operator]
password = "s3cret words that are long"
[users]
pump = "s3cret-of-the-pump"
`

// newCard returns a boot partition, as arguments for qemu.
func newCard(t *testing.T) []string {
	t.Helper()
	chosen(t)
	path, err := exec.LookPath("mkfs.vfat")
	if err != nil {
		t.Skip("mkfs.vfat is missing — hint: apt-get install dosfstools")
	}
	card := filepath.Join(t.TempDir(), "card")
	if err := os.WriteFile(card, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(card, 64<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(path, card).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return []string{"-drive", "format=raw,if=none,id=card,file=" + card, "-device", "virtio-blk-pci,drive=card"}
}

// TestApplianceSetsItselfUp gives an appliance a file on its card, one that is wrong, a
// factory reset that the power ends, and a credential of the machine around it.
func TestApplianceSetsItselfUp(t *testing.T) {
	m := newMachine(t, newCard(t)...)
	m.boot()
	m.install(m.deb())
	m.active()
	m.must("mkdir -p /boot/firmware; echo '/dev/vdb /boot/firmware vfat defaults 0 0' >>/etc/fstab; systemctl daemon-reload; mount /boot/firmware")
	for _, step := range []struct {
		name string
		run  func(*machine)
	}{
		{"has a name of its own", (*machine).hasName},
		{"takes a file from its card", (*machine).takesFile},
		{"starts when the file is wrong", (*machine).startsWithWrongFile},
		{"ends a factory reset that the power has ended", (*machine).endsReset},
		{"takes a credential once", (*machine).takesCredential},
	} {
		m.step(step.name, step.run)
	}
}

// again switches the machine off and on.
func (m *machine) again() {
	m.must("sync")
	m.shutDown()
	m.boot()
	m.active()
}

// called says what the gateway is called.
func (m *machine) called() string {
	return m.must(`sed 's/.*"id":"\([^"]*\)".*/\1/' /var/lib/tidegate/identity.json`)
}

func (m *machine) hasName() {
	want := "tg-" + m.must("systemd-id128 --app-specific=251c0fb4461f81bb49db613bea73529f machine-id | cut -c1-12")
	if got := m.called(); got != want {
		m.Errorf("it is called %q, not %q", got, want)
	}
	m.must("test -s /var/lib/tidegate/setup-code; journalctl -u tidegate | grep 'set-up code'")
}

// card writes the file that is looked for.
func (m *machine) card(text string) {
	m.must("cat >/boot/firmware/tidegate-init.toml <<'END OF FILE'\n" + text + "END OF FILE\n")
}

func (m *machine) takesFile() {
	m.card(cardFile)
	m.again()
	m.must("systemctl show -p Result --value tidegate-init | grep -x success")
	if got := m.called(); !strings.HasPrefix(got, "farm-tg-") {
		m.Errorf("it is called %q", got)
	}
	if said := m.must("journalctl --no-pager; cat /boot/firmware/* /etc/tidegate/tidegate.toml"); strings.Contains(said, "s3cret") {
		m.Error("a secret is told")
	}
	if got := m.must("cd /boot/firmware; echo *"); got != "tidegate-init.done tidegate-init.log" {
		m.Errorf("on the card is %s", got)
	}
	for file, want := range map[string]string{
		"/etc/credstore/tidegate/cloud.token": "root:root 600", "/etc/tidegate/passwords": "root:tidegate 640",
		"/var/lib/tidegate/operator.json": "tidegate:tidegate 600", "/etc/tidegate/tidegate.toml.before-init": "tidegate:tidegate 640",
	} {
		if got := m.must("stat -c '%U:%G %a' " + file); got != want {
			m.Errorf("%s is %s, not %s", file, got, want)
		}
	}
	m.owns()
	m.must("grep -qx s3cret-token /run/credentials/tidegate.service/tidegate_cloud.token; test ! -e /var/lib/tidegate/setup-code")
}

func (m *machine) startsWithWrongFile() {
	m.card("[log]\nlevel = \"loud\"\n[credential]\na = \"s3cret\"\n")
	m.again()
	m.must("systemctl is-failed tidegate-init; test ! -e /etc/credstore/tidegate/a; grep 'tidegate-init.toml:2:9: log.level' /boot/firmware/tidegate-init.log; grep 'hint: ' /boot/firmware/tidegate-init.log")
	if got := m.called(); !strings.HasPrefix(got, "farm-tg-") {
		m.Errorf("it is called %q", got)
	}
	m.must("rm /boot/firmware/tidegate-init.toml")
}

// endsReset has a reset stop half-way, at a file that cannot be erased, and takes the power away.
func (m *machine) endsReset() {
	m.must(`systemctl stop tidegate; chattr +i /var/lib/tidegate/identity.json
if tidegate factory-reset -yes; then exit 1; fi
chattr -i /var/lib/tidegate/identity.json
test -s /etc/tidegate/tidegate.toml.reset; test ! -e /etc/tidegate/passwords; test -s /etc/tidegate/tidegate.toml; sync`)
	m.cut()
	m.boot()
	m.active()
	m.isNew()
}

func (m *machine) takesCredential() {
	m.devices = append(m.devices, "-smbios", "type=11,value=io.systemd.credential.binary:tidegate.init="+base64.StdEncoding.EncodeToString([]byte(cardFile)))
	m.again()
	if got := m.called(); !strings.HasPrefix(got, "farm-tg-") {
		_, said := m.try("journalctl --no-pager -u tidegate-init; systemctl status tidegate-init")
		m.Fatalf("it is called %q\n%s", got, said)
	}
	m.must("echo '# changed' >>/etc/tidegate/tidegate.toml")
	m.again()
	m.must("grep -q '# changed' /etc/tidegate/tidegate.toml; journalctl -b -u tidegate-init | grep 'was applied before'")
}
