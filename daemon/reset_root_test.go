package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tidegate/tidegate/internal/erase"
)

// aGateway is a user who is not root and has taken the gateway over.
const aGateway = 12345

// given gives files to that user.
func given(t *testing.T, paths ...string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	for _, path := range paths {
		if err := os.Lchown(path, aGateway, aGateway); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRootErasesNoFolderOfOthersBecauseAGatewaySaysSo: the gateway owns its configuration,
// so it can name any folder as its own, and put a link in the place of one later.
func TestRootErasesNoFolderOfOthersBecauseAGatewaySaysSo(t *testing.T) {
	config, data, cfg := lived(t, "tidegate")
	given(t, config, data)
	precious := t.TempDir()
	writeFile(t, filepath.Join(precious, "journal"), "precious") // as in /var/log
	cfg.Gateway.DataDir = precious
	is, _, err := ownerOf(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := planReset(config, is, cfg, false); err == nil || !strings.Contains(err.Error(), "which user 0 owns") || !strings.Contains(err.Error(), " — hint: ") {
		t.Errorf("%v", err)
	}
	cfg.Gateway.DataDir = data
	r := resetting(t, config, cfg, false)
	if err := errors.Join(os.RemoveAll(data), os.Symlink(precious, data)); err != nil {
		t.Fatal(err)
	}
	if err := r.do(io.Discard, nil); !errors.Is(err, erase.ErrOwner) {
		t.Errorf("%v", err)
	}
	if readFile(t, filepath.Join(precious, "journal")) != "precious" {
		t.Error("it was led away")
	}
}

// TestALinkBesideTheConfigurationLeadsNowhere plants it after everything was looked at.
func TestALinkBesideTheConfigurationLeadsNowhere(t *testing.T) {
	config, _, cfg := lived(t, "elsewhere")
	precious := filepath.Join(t.TempDir(), "users")
	writeFile(t, precious, "precious")
	r := resetting(t, config, cfg, false)
	sub := filepath.Join(filepath.Dir(config), "sub")
	if err := errors.Join(os.RemoveAll(sub), os.Symlink(filepath.Dir(precious), sub)); err != nil {
		t.Fatal(err)
	}
	if err := r.do(io.Discard, nil); err == nil {
		t.Error("nothing is said about it")
	}
	if readFile(t, precious) != "precious" {
		t.Error("it was led away")
	}
}

// TestAResetThatCouldNotEndDoesNotBegin: the configuration is a link, which is not replaced.
func TestAResetThatCouldNotEndDoesNotBegin(t *testing.T) {
	config, data, _ := lived(t, "tidegate")
	real := filepath.Join(t.TempDir(), "real.toml")
	if err := errors.Join(os.Rename(config, real), os.Symlink(real, config)); err != nil {
		t.Fatal(err)
	}
	var out, said bytes.Buffer
	if code := Main([]string{"factory-reset", "-yes", "-config", config}, &out, &said); code == exitOK || !strings.Contains(said.String(), " — hint: ") {
		t.Errorf("%d: %s%s", code, &out, &said)
	}
	if _, err := os.Lstat(config + resetMark); err == nil || readFile(t, filepath.Join(data, "operator.json")) != "secret" {
		t.Error("it has begun")
	}
}

// TestDataDirIsFoundInAConfigurationThatIsTorn: the default one in its place would leave
// everything where it is.
func TestDataDirIsFoundInAConfigurationThatIsTorn(t *testing.T) {
	config, data, _ := lived(t, "tidegate")
	writeFile(t, config, fmt.Sprintf("[gateway]\nid = \"hall-7\"\n data_dir = %q\n[ingest.mq", data))
	cfg := Default()
	if broken := understand(config, []byte(readFile(t, config)), &cfg); broken == nil || cfg.Gateway.DataDir != data {
		t.Fatalf("%v: data_dir is taken to be %s, which this test does not erase", broken, cfg.Gateway.DataDir)
	}
	var out, said bytes.Buffer
	if code := Main([]string{"factory-reset", "-yes", "-config", config}, &out, &said); code != exitOK {
		t.Fatalf("%d: %s%s", code, &out, &said)
	}
	if got := treeNames(treeOf(t, data)); got != "data" || readFile(t, config) != shippedConfig {
		t.Errorf("left: %s", got)
	}
	if !strings.Contains(out.String(), "the configuration cannot be read") {
		t.Errorf("it says %s", &out)
	}
}

// TestRootReadsWhatIsThereAndWaitsForNobody puts a pipe in the place of a configuration.
func TestRootReadsWhatIsThereAndWaitsForNobody(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tidegate.toml")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readOwned(path); err == nil || !strings.Contains(err.Error(), "is no regular file — hint: ") {
		t.Errorf("%v", err)
	}
}
