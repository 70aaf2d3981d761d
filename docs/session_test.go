package docs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/tidegate/tidegate/internal/base/porttest"
)

// patience is how long anything may take that should happen at all.
const patience = 60 * time.Second

// session is a page's machine: a folder in which its paths lie, free ports in
// place of its own, and the processes that its commands start.
type session struct {
	*testing.T
	dir      string
	replaced []string // old, new, …: what this page names, and what is here
	env      []string
	ports    map[int]int
}

// newSession makes the folder. Its name is short: a socket's path is limited.
func newSession(t *testing.T, replaced []string, env ...string) *session {
	t.Helper()
	dir, err := os.MkdirTemp("", "doc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &session{T: t, dir: dir, ports: make(map[int]int)}
	s.replaced = replaced
	s.env = append(os.Environ(), append([]string{"TIDEGATE_CONFIG=" + s.path("/etc/tidegate/tidegate.toml"), "HOME=" + s.path("/desk"), "CREDENTIALS_DIRECTORY=" + s.path("/run/credentials"), "LC_ALL=C.UTF-8", "GORACE=atexit_sleep_ms=0"}, env...)...)
	for _, folder := range []string{"/etc/credstore/tidegate", "/var/lib/tidegate", "/dev/serial/by-id", "/tmp", "/media/stick", "/media/usb", "/desk", "/srv", "/run/tidegate"} {
		if err := os.MkdirAll(s.path(folder), 0o750); err != nil {
			t.Fatal(err)
		}
	}
	s.write(".curlrc", "silent\nshow-error\n")
	return s
}

// path is where a path of the page lies.
func (s *session) path(p string) string { return s.dir + p }

// port is what is free here in place of a page's port.
func (s *session) port(n int) int {
	if s.ports[n] == 0 {
		s.ports[n] = freePort(s.T)
	}
	return s.ports[n]
}

// freePort is one of this test's alone, for TCP and UDP.
func freePort(t *testing.T) int {
	t.Helper()
	for range 100 {
		addr := porttest.For(t)
		u, err := net.ListenPacket("udp", addr)
		if err != nil {
			continue
		}
		port := u.LocalAddr().(*net.UDPAddr).Port
		u.Close()
		return port
	}
	t.Fatal("no port is free")
	return 0
}

var (
	folders  = regexp.MustCompile(`(^|[\s"'=@:(])(/etc/tidegate|/var/lib|/var/backups|/run/tidegate|/run/credentials|/media|/srv|/tmp|/dev/tty\w*|/dev/serial)\b`)
	hostPort = regexp.MustCompile(`\b(?:127\.0\.0\.1|0\.0\.0\.0|localhost|gateway\.lan|192\.168\.\d+\.\d+|192\.0\.2\.\d+|10\.\d+\.\d+\.\d+|[\w-]+\.example):(\d+)\b`)
	barePort = regexp.MustCompile(`(127\.0\.0\.1 |--port |-p |TCP-LISTEN:|= ":)(\d{4,5})\b`)
	toBroker = regexp.MustCompile(`\b(mosquitto_[ps]ub)( -[qtmv])`)
	forHow   = regexp.MustCompile(`-for \d+s\b`)
	coapHost = regexp.MustCompile(`(coaps?)://(?:127\.0\.0\.1|gateway\.lan)/`)
)

// here puts this machine into a text of the page.
func (s *session) here(text string) string {
	text = strings.NewReplacer(s.replaced...).Replace(text)
	text = toBroker.ReplaceAllString(text, fmt.Sprintf("${1} -p %d${2}", s.port(1883)))
	text = forHow.ReplaceAllString(text, "-for 1s")
	text = folders.ReplaceAllString(text, "${1}"+s.dir+"${2}")
	text = hostPort.ReplaceAllStringFunc(text, func(m string) string {
		n, err := strconv.Atoi(m[strings.LastIndexByte(m, ':')+1:])
		if err != nil || n == 0 || n > 65535 || s.ours(n) {
			return m
		}
		return fmt.Sprintf("127.0.0.1:%d", s.port(n))
	})
	text = barePort.ReplaceAllStringFunc(text, func(m string) string {
		at := strings.LastIndexAny(m, " :") + 1
		n, _ := strconv.Atoi(m[at:])
		if s.ours(n) {
			return m
		}
		if strings.HasPrefix(m, "=") {
			return fmt.Sprintf(`= "127.0.0.1:%d`, s.port(n))
		}
		return m[:at] + strconv.Itoa(s.port(n))
	})
	return coapHost.ReplaceAllStringFunc(text, func(m string) string {
		if strings.HasPrefix(m, "coaps") {
			return fmt.Sprintf("coaps://127.0.0.1:%d/", s.port(5684))
		}
		return fmt.Sprintf("coap://127.0.0.1:%d/", s.port(5683))
	})
}

// ours says whether the port is one that was put here before.
func (s *session) ours(n int) bool {
	for _, port := range s.ports {
		if port == n {
			return true
		}
	}
	return false
}

// write writes a file that the page names.
func (s *session) write(name, text string) {
	s.Helper()
	if !filepath.IsAbs(name) {
		name = "/desk/" + name
	}
	if err := os.MkdirAll(filepath.Dir(s.path(name)), 0o755); err != nil {
		s.Fatal(err)
	}
	if err := os.WriteFile(s.path(name), []byte(text), 0o600); err != nil {
		s.Fatal(err)
	}
}

// configure writes the configuration: the page's, with what it leaves to defaults
// put into the folder and on free ports.
func (s *session) configure(text string) {
	s.Helper()
	whole := make(map[string]any)
	if err := toml.Unmarshal([]byte(s.here(text)), &whole); err != nil {
		s.Fatalf("%v: %s", err, s.here(text))
	}
	set := func(value any, keys ...string) {
		table := whole
		for _, key := range keys[:len(keys)-1] {
			if table[key] == nil {
				table[key] = make(map[string]any)
			}
			table = table[key].(map[string]any)
		}
		if last := keys[len(keys)-1]; table[last] == nil {
			table[last] = value
		}
	}
	set("north-7", "gateway", "id")
	set(s.path("/var/lib/tidegate"), "gateway", "data_dir")
	set("speed", "buffer", "profile")
	set("64MiB", "buffer", "max_bytes")
	set(fmt.Sprintf("127.0.0.1:%d", s.port(1883)), "ingest", "mqtt", "listen")
	set(fmt.Sprintf("127.0.0.1:%d", s.port(8080)), "dashboard", "listen")
	written, err := toml.Marshal(whole)
	if err != nil {
		s.Fatal(err)
	}
	s.write("/etc/tidegate/tidegate.toml", string(written))
}

// command is a shell that runs the text in the folder, as a group of its own.
func (s *session) command(ctx context.Context, text string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "sh", "-c", text)
	cmd.Dir, cmd.Env = s.path("/desk"), s.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = patience
	return cmd
}

// run runs commands of the page and returns all that they print.
func (s *session) run(text string) (string, error) {
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	script := "[ ! -e .env ] || . ./.env\nset -eua\n" + s.here(text) + "\nexport -p >.env\n"
	var out bytes.Buffer
	cmd := s.command(ctx, script)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Stdin = strings.NewReader("a passphrase of some length\na passphrase of some length\n") // for who asks
	err := cmd.Run()
	if ctx.Err() != nil {
		err = fmt.Errorf("it did not end within %v", patience)
	}
	return out.String(), err
}

// spoken collects what a process says, for several goroutines.
type spoken struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (p *spoken) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *spoken) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// lifeline is a pipe into which nobody writes: its end is that of the test's process,
// however that comes about.
var lifeline = sync.OnceValue(func() (l struct {
	read, write *os.File // the latter is kept open
	err         error
}) {
	l.read, l.write, l.err = os.Pipe()
	return l
})

// leash ends a group of processes with the test.
const leash = "(read -r _ <&3; kill -KILL 0) >/dev/null 2>&1 &\n"

// start starts what does not end by itself. It is killed with the session, and must
// not have failed before. ready is called until it is true.
func (s *session) start(text string, ready func(said string) bool) *spoken {
	s.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd, out := s.command(ctx, leash+"[ ! -e .env ] || . ./.env\nexec 3<&-\nexec "+s.here(text)), &spoken{}
	line := lifeline()
	if line.err != nil {
		cancel()
		s.Fatal(line.err)
	}
	cmd.ExtraFiles = []*os.File{line.read}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		cancel()
		s.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	s.Cleanup(func() {
		select {
		case err := <-ended:
			if err != nil {
				s.Errorf("%q ended: %v\n%s", text, err, out)
			}
			cancel()
		default:
			cancel()
			<-ended
		}
		if s.Failed() {
			s.Logf("%q said\n%.4000s", text, out)
		}
	})
	s.eventually("it is ready: "+text, func() bool { return ready(out.String()) || len(ended) > 0 })
	return out
}

// eventually waits until the condition holds.
func (s *session) eventually(what string, condition func() bool) {
	s.Helper()
	deadline := time.After(patience)
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for !condition() {
		select {
		case <-look.C:
		case <-deadline:
			s.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// startGateway runs the gateway until the end of the session.
func (s *session) startGateway() {
	s.Helper()
	s.start("sh -c 'echo $$ >gateway.pid; exec tidegate run'", func(string) bool {
		status, err := s.get("/api/v1/status")
		return err == nil && strings.Contains(status, `"mqtt"`)
	})
}

// get asks the gateway on its admin socket.
func (s *session) get(url string) (string, error) { return s.request(http.MethodGet, url, "") }

// request sends the gateway a request on its admin socket, and returns the answer.
func (s *session) request(method, url, body string) (string, error) {
	if strings.HasPrefix(url, "/api/v1/session") { // is asked of the page only
		return s.run(fmt.Sprintf("curl -fsS 'http://127.0.0.1:%d%s'", s.port(8080), url))
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", s.path("/var/lib/tidegate/admin.sock"))
		}}}
	req, err := http.NewRequestWithContext(s.Context(), method, "http://tidegate"+url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	answer, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err == nil && resp.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", resp.Status, answer)
	}
	return string(answer), err
}

// eventuallyStored waits until the reading is on flash: "device metric value".
func (s *session) eventuallyStored(reading string) {
	s.Helper()
	words := strings.Fields(reading)
	for i, word := range words {
		if word != "*" {
			words[i] = regexp.QuoteMeta(word)
		} else {
			words[i] = `\S.*`
		}
	}
	want := regexp.MustCompile(`\d\s+` + strings.Join(words, `\s+`))
	last := ""
	defer func() {
		if s.Failed() {
			s.Logf("on flash is\n%.6000s", last)
		}
	}()
	s.eventually("on flash is "+reading, func() bool {
		last, _ = s.run("tidegate buffer peek -n 500")
		return want.MatchString(last)
	})
}
