package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/base/whole"
)

// lived is the folders of a gateway that was used, in a folder of their own.
func lived(t *testing.T, etc string) (config, data string, cfg Config) {
	t.Helper()
	dir := t.TempDir()
	config, data = filepath.Join(dir, etc, "tidegate.toml"), filepath.Join(dir, "data")
	text := fmt.Sprintf("[gateway]\nid = \"hall-7\"\ndata_dir = %q\n[ingest.mqtt]\npassword_file = %q\n", data, filepath.Join(dir, etc, "sub", "users"))
	for path, text := range map[string]string{
		config: text, filepath.Join(dir, etc, "sub", "users"): "", whole.Temp(filepath.Join(dir, etc, "sub", "users")): "x", config + ".previous": "x", whole.Temp(config): "x", config + "~": "x", filepath.Join(dir, etc, "notes"): "x",
		filepath.Join(credentialStore(config), "token"): "secret", filepath.Join(dir, etc, "tidegate-cloud.toml"): "x",
		filepath.Join(data, "journal", "00000001.seg"): "readings", filepath.Join(data, "operator.json"): "secret", filepath.Join(data, identityFile): `{"id":"hall-7"}`,
	} {
		writeFile(t, path, text)
	}
	cfg, err := Load(config)
	if err != nil {
		t.Fatal(err)
	}
	return config, data, cfg
}

func resetting(t *testing.T, config string, cfg Config, keep bool) reset {
	t.Helper()
	as, _, err := ownerOf(config)
	if err != nil {
		t.Fatal(err)
	}
	r, err := planReset(config, as, cfg, keep)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAFactoryResetLeavesWhatIsNotTheGateways(t *testing.T) {
	for etc, want := range map[string]string{
		"tidegate":  "credstore credstore/tidegate data tidegate tidegate/tidegate-cloud.toml tidegate/tidegate.toml",
		"elsewhere": "credstore credstore/elsewhere data elsewhere elsewhere/notes elsewhere/sub elsewhere/tidegate-cloud.toml elsewhere/tidegate.toml",
	} {
		config, data, cfg := lived(t, etc)
		if err := resetting(t, config, cfg, false).do(io.Discard, nil); err != nil {
			t.Fatal(err)
		}
		if got := treeNames(treeOf(t, data, filepath.Dir(config), filepath.Dir(credentialStore(config)))); got != want {
			t.Errorf("left: %s, want %s", got, want)
		}
		if readFile(t, config) != shippedConfig {
			t.Error("the configuration is not what is shipped")
		}
	}
}

// TestAPowerCutInAFactoryResetIsMadeUpFor stops before each step, and lets the next start
// go on.
func TestAPowerCutInAFactoryResetIsMadeUpFor(t *testing.T) {
	errCut := errors.New("power cut")
	for _, keep := range []bool{false, true} {
		for cut, more := 0, true; more; cut++ {
			config, data, cfg := lived(t, "tidegate")
			before := treeOf(t, data, filepath.Dir(config), filepath.Dir(credentialStore(config)))
			step := 0
			err := resetting(t, config, cfg, keep).do(io.Discard, func(string) error {
				if step++; step > cut {
					return errCut
				}
				return nil
			})
			if more = err != nil; more && !errors.Is(err, errCut) {
				t.Fatal(err)
			}
			if err := finishReset(config, io.Discard); err != nil {
				t.Fatalf("cut %d: %v", cut, err)
			}
			after := treeOf(t, data, filepath.Dir(config), filepath.Dir(credentialStore(config)))
			if cut == 0 {
				if !maps.Equal(before, after) {
					t.Errorf("something was done before the mark: %s", treeNames(after))
				}
				continue
			}
			want := "credstore credstore/tidegate data tidegate tidegate/tidegate-cloud.toml tidegate/tidegate.toml"
			if keep {
				delete(before, "data/journal")
				maps.DeleteFunc(before, func(name, _ string) bool { return strings.HasPrefix(name, "data/") })
				want = treeNames(before)
			}
			if got := treeNames(after); got != want {
				t.Errorf("cut %d, keep %v: left %s, want %s", cut, keep, got, want)
			}
			if keep == (readFile(t, config) == shippedConfig) {
				t.Errorf("cut %d, keep %v: the configuration is another", cut, keep)
			}
		}
	}
}

// TestWhatWentIsToldAfter: all that the steps erased, and of a reset that stops what they
// did not.
func TestWhatWentIsToldAfter(t *testing.T) {
	config, data, cfg := lived(t, filepath.Join(t.TempDir(), "tidegate"))
	r := resetting(t, config, cfg, false)
	var said strings.Builder
	stop := errors.New("no more")
	err := r.do(&said, func(what string) error {
		if what == "what is in "+data {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || len(r.Files) == 0 {
		t.Fatal(err, r.Files)
	}
	for _, file := range r.Files {
		if !strings.Contains(said.String(), "erased: "+file+"\n") {
			t.Errorf("that %s went is not told: %s", file, said.String())
		}
	}
	for _, left := range []string{"what is in " + data, config} {
		if !strings.Contains(said.String(), "\nnot erased, or not all of it: "+left+"\n") {
			t.Errorf("that %q stayed is not told: %s", left, said.String())
		}
	}
	said.Reset()
	if err := r.do(&said, nil); err != nil {
		t.Fatal(err)
	}
	if want := "erased: what is in " + data + "\nas shipped: " + config + "\n"; !strings.HasSuffix(said.String(), want) || strings.Contains(said.String(), "not erased") {
		t.Errorf("%q does not end with %q", said.String(), want)
	}
}

func TestAStartEndsAFactoryReset(t *testing.T) {
	config, data, cfg := lived(t, "tidegate")
	if err := resetting(t, config, cfg, false).mark(); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := finishReset(config, &out); err != nil || !strings.Contains(out.String(), "this is a new gateway") {
		t.Errorf("%v, %s", err, &out)
	}
	if got := treeNames(treeOf(t, data)); got != "data" {
		t.Errorf("left: %s", got)
	}
	out.Reset()
	if err := finishReset(config, &out); err != nil || out.Len() > 0 {
		t.Errorf("without a mark: %v, %s", err, &out)
	}
}

// TestAMarkThatSomebodyElseHasMadeErasesNothing: the gateway may write the folder of the
// configuration, and root acts on marks in there.
func TestAMarkThatSomebodyElseHasMadeErasesNothing(t *testing.T) {
	precious := filepath.Join(t.TempDir(), "precious")
	writeFile(t, filepath.Join(precious, "file"), "precious")
	for what, c := range map[string]struct{ mark, want string }{
		"a link":                    {"", "another user has begun"},
		"no mark":                   {"{", "remove this file"},
		"a name that is remembered": {`{"id":"tg-0123456789ab"}`, "is no data_dir"},
		"a folder of the system":    {`{"data_dir":"/var/lib"}`, "which the gateway has not for itself"},
		"a file that is not beside": {`{"data_dir":"DATA","files":["` + precious + `/file"]}`, "is not beside the configuration"},
		"by way of a link":          {`{"data_dir":"DATA","files":["ETC/away/file"]}`, "is not beside the configuration"},
	} {
		config, data, _ := lived(t, "tidegate")
		etc := filepath.Dir(config)
		if err := os.Symlink(precious, filepath.Join(etc, "away")); err != nil {
			t.Fatal(err)
		}
		if what == "a link" {
			if err := os.Symlink(filepath.Join(precious, "file"), config+resetMark); err != nil {
				t.Fatal(err)
			}
		} else {
			writeFile(t, config+resetMark, strings.NewReplacer("DATA", data, "ETC", etc).Replace(c.mark))
		}
		before := treeOf(t, data, etc, precious)
		if err := finishReset(config, io.Discard); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%s: %v", what, err)
		}
		if !maps.Equal(before, treeOf(t, data, etc, precious)) {
			t.Errorf("%s: something is gone", what)
		}
	}
	if os.Geteuid() != 0 {
		t.Skip("only root can let a mark be another user's")
	}
	config, data, cfg := lived(t, "tidegate")
	if err := resetting(t, config, cfg, false).mark(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(config+resetMark, 12345, -1); err != nil {
		t.Fatal(err)
	}
	before := treeOf(t, data)
	if err := finishReset(config, io.Discard); err == nil || !maps.Equal(before, treeOf(t, data)) {
		t.Errorf("another user's mark: %v", err)
	}
}

func TestAFolderThatIsNotTheGatewaysIsNotErased(t *testing.T) {
	config, data, cfg := lived(t, "tidegate")
	foreign := t.TempDir()
	writeFile(t, filepath.Join(foreign, "photos"), "precious")
	writeFile(t, filepath.Join(foreign, ".bashrc"), "precious") // nor is that a gateway's
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/var/lib", link); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/", "/etc", "/var/lib/../lib", link, foreign, filepath.Dir(config), filepath.Dir(data)} {
		cfg.Gateway.DataDir = dir
		if r, err := planReset(config, whole.As{}, cfg, false); err == nil || !strings.Contains(err.Error(), " — hint: ") {
			t.Errorf("%s: %+v, %v", dir, r, err)
		}
	}
	cfg.Gateway.DataDir = filepath.Join(foreign, "nowhere")
	if _, err := planReset(config, whole.As{}, cfg, false); err != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
}

// TestLinksInDataDirLeadNowhere plants links where the gateway may write.
func TestLinksInDataDirLeadNowhere(t *testing.T) {
	config, data, cfg := lived(t, "tidegate")
	precious := t.TempDir()
	writeFile(t, filepath.Join(precious, "file"), "precious")
	for _, name := range []string{filepath.Join(data, "link"), filepath.Join(data, "journal", "link"), filepath.Join(filepath.Dir(config), "link")} {
		if err := os.Symlink(precious, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := resetting(t, config, cfg, false).do(io.Discard, nil); err != nil {
		t.Fatal(err)
	}
	if readFile(t, filepath.Join(precious, "file")) != "precious" {
		t.Error("it was led away")
	}
}

// TestAResetWorksWhenTheConfigurationDoesNot is what a reset is for.
func TestAResetWorksWhenTheConfigurationDoesNot(t *testing.T) {
	config, data, _ := lived(t, "tidegate")
	writeFile(t, config, fmt.Sprintf("[gateway]\nid = \"a b\"\ndata_dir = %q\nnonsense = 1\n", data))
	var out, said bytes.Buffer
	if code := Main([]string{"factory-reset", "-yes", "-config", config}, &out, &said); code != exitOK {
		t.Fatalf("%d: %s%s", code, &out, &said)
	}
	if got := treeNames(treeOf(t, data)); got != "data" || readFile(t, config) != shippedConfig {
		t.Errorf("left: %s", got)
	}
}

func TestWhatIsShippedIsWhatThePackageInstalls(t *testing.T) {
	if got := readFile(t, "../packaging/tidegate.toml"); got != shippedConfig {
		t.Errorf("the package installs\n%s", got)
	}
}
