package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate/tidegate/cloud"
	"github.com/tidegate/tidegate/internal/base/leaktest"
	"github.com/tidegate/tidegate/internal/rerun"
	"github.com/tidegate/tidegate/reading"
	"github.com/tidegate/tidegate/wire"
)

// asProgram tells the test binary to be tidegate-cloud.
const asProgram = "TIDEGATE_CLOUD_TEST_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	leaktest.Main(m)
}

// packed is a chunk of the readings first to last of the gateway.
func packed(t *testing.T, gateway string, first, last uint64) []byte {
	t.Helper()
	var rs []reading.Reading
	for seq := first; seq <= last; seq++ {
		rs = append(rs, reading.Reading{Device: "d", Metric: "m", Time: int64(seq) * 1e9, Value: reading.Float(float64(seq))})
	}
	raw, err := wire.NewEncoder().AppendBlock(nil, wire.Header{Epoch: 0xa1, First: first}, rs)
	if err != nil {
		t.Fatal(err)
	}
	b, _, err := wire.ParseBlock(raw)
	if err != nil {
		t.Fatal(err)
	}
	raw, err = wire.AppendChunk(nil, wire.Chunk{Gateway: gateway, Blocks: []wire.Block{b}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// start runs "run" until the test stops it, and returns its address. stop
// returns what it printed.
func start(t *testing.T, args ...string) (url string, stop func() (string, error)) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	logs, log := io.Pipe()
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() {
		done <- command(ctx, append([]string{"run", "-listen", "127.0.0.1:0"}, args...), streams{&out, log})
		log.Close()
	}()
	url = "http://" + address(t, logs)
	go io.Copy(io.Discard, logs)
	return url, func() (string, error) {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		err := <-done
		return out.String(), err
	}
}

// address reads the log up to the line that says where the program listens.
func address(t *testing.T, logs io.Reader) string {
	t.Helper()
	lines := bufio.NewScanner(logs)
	for lines.Scan() {
		if m := regexp.MustCompile(`address=(\S+)`).FindStringSubmatch(lines.Text()); m != nil {
			return m[1]
		}
	}
	t.Fatal("it never said where it listens")
	return ""
}

func post(t *testing.T, url string, body []byte, token string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/v1/ingest", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", cloud.ChunkType)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// do runs a command and wants it to succeed.
func do(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := command(t.Context(), args, streams{&out, io.Discard}); err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	return out.String()
}

func TestWhatRunReceivesTheOthersShow(t *testing.T) {
	dir := t.TempDir()
	url, stop := start(t, "-data", dir, "-print")
	for _, body := range [][]byte{packed(t, "north", 1, 3), packed(t, "north", 6, 7), packed(t, "north", 1, 3)} {
		if status := post(t, url, body, ""); status != http.StatusOK {
			t.Fatalf("answered %d", status)
		}
	}
	asked := do(t, "ledger", "-url", url)
	askedRows := do(t, "export", "-url", url, "-gateway", "north", "-from", "3")
	err := command(t.Context(), []string{"ledger", "-data", dir}, streams{io.Discard, io.Discard})
	if err == nil || !strings.Contains(err.Error(), "-url") {
		t.Errorf("got %v, want a hint to use -url", err)
	}
	printed, err := stop()
	if err != nil {
		t.Error(err)
	}
	if want := "north 00000000000000a1 normal 1..3 readings=0 duplicates=3 bytes="; strings.Count(printed, "\n") != 3 || !strings.Contains(printed, want) {
		t.Errorf("printed\n%s", printed)
	}
	if got := do(t, "ledger", "-data", dir); got != asked {
		t.Errorf("ledger of the folder\n%sof the program\n%s", got, asked)
	}
	for _, want := range []string{"1..3,6..7", "north 00000000000000a1 normal: missing 4..5", "1970-01-01T00:00:07Z"} {
		if !strings.Contains(asked, want) {
			t.Errorf("ledger lacks %q:\n%s", want, asked)
		}
	}
	if got := do(t, "export", "-data", dir, "-gateway", "north", "-from", "3"); got != askedRows || strings.Count(got, "\n") != 3 {
		t.Errorf("export of the folder\n%sof the program\n%s", got, askedRows)
	}
	var answer struct{ Lanes []cloud.LaneLedger }
	if err := json.Unmarshal([]byte(do(t, "ledger", "-data", dir, "-json")), &answer); err != nil || len(answer.Lanes) != 1 || answer.Lanes[0].Readings != 5 {
		t.Errorf("JSON %+v, %v", answer, err)
	}
}

func TestImportCountsOnceToo(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "north.chunks")
	if err := os.WriteFile(file, append(packed(t, "north", 1, 3), packed(t, "south", 1, 4)...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"2 chunks, 7 readings stored, 0 here already", "2 chunks, 0 readings stored, 7 here already"} {
		if got := do(t, "import", "-data", dir, file); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A stick that was pulled out too early, and one with a bad spot.
func TestImportTakesWhatIsWholeAndNamesTheRest(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, parts ...[]byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, slices.Concat(parts...), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	rotten := packed(t, "east", 4, 6)
	rotten[40] ^= 1
	at := len(packed(t, "east", 1, 3))
	torn := write("torn.chunks", packed(t, "east", 1, 3), packed(t, "east", 4, 6)[:20])
	bad := write("bad.chunks", packed(t, "east", 1, 3), rotten, packed(t, "east", 7, 8))
	var out bytes.Buffer
	err := command(t.Context(), []string{"import", "-data", dir, torn, bad, filepath.Join(dir, "gone")}, streams{&out, io.Discard})
	if err == nil || strings.Count(err.Error(), "hint") != 3 || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{
		torn + ": 1 chunks, 3 readings stored, 0 here already\n",
		fmt.Sprintf("%s: left out: the file ends at byte %d, in the middle of the chunk that begins at byte %d\n", torn, at+20, at),
		bad + ": 2 chunks, 2 readings stored, 3 here already\n",
		fmt.Sprintf("%s: left out: bytes %d to %d are damaged\n", bad, at, at+len(rotten)-1),
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("lacks %q:\n%s", want, out.String())
		}
	}
	if got := do(t, "export", "-data", dir, "-gateway", "east"); strings.Count(got, "\n") != 5 {
		t.Errorf("what is whole is\n%s", got)
	}
	out.Reset()
	_ = command(t.Context(), []string{"import", "-data", dir, "-json", bad}, streams{&out, io.Discard})
	var said struct{ Files []imported }
	if err := json.Unmarshal(out.Bytes(), &said); err != nil || len(said.Files) != 1 || said.Files[0].Here != 5 ||
		len(said.Files[0].Damage) != 1 || said.Files[0].Damage[0].From != int64(at) {
		t.Errorf("%s, %v", out.String(), err)
	}
}

func TestImportIntoARunningCloud(t *testing.T) {
	dir := t.TempDir()
	tokens, file := filepath.Join(dir, "tokens"), filepath.Join(dir, "north.chunks")
	for path, text := range map[string][]byte{tokens: []byte("north secret-1\n"), file: append(packed(t, "north", 1, 3), packed(t, "north", 4, 6)...)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	url, stop := start(t, "-data", dir, "-tokens", tokens)
	err := command(t.Context(), []string{"import", "-data", dir, file}, streams{io.Discard, io.Discard})
	if err == nil || !strings.Contains(err.Error(), "import with -url") {
		t.Errorf("the store is open: %v", err)
	}
	err = command(t.Context(), []string{"import", "-url", url, file}, streams{io.Discard, io.Discard})
	if err == nil || !strings.Contains(err.Error(), "no valid token") {
		t.Errorf("without a token: %v", err)
	}
	for _, want := range []string{"2 chunks, 6 readings stored, 0 here already", "2 chunks, 0 readings stored, 6 here already"} {
		if got := do(t, "import", "-url", url, "-tokens", tokens, file); !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := do(t, "ledger", "-url", url); !strings.Contains(got, "1..6") {
		t.Errorf("ledger\n%s", got)
	}
	if _, err := stop(); err != nil {
		t.Error(err)
	}
}

func TestTokensFile(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "tokens")
	if err := os.WriteFile(file, []byte("# site\n\nnorth gate\tsecret-1\nsouth secret-2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url, stop := start(t, "-data", dir, "-tokens", file)
	body := packed(t, "north gate", 1, 3)
	for token, want := range map[string]int{"": 401, "secret-2": 401, "secret-1": 200} {
		if status := post(t, url, body, token); status != want {
			t.Errorf("token %q: answered %d, want %d", token, status, want)
		}
	}
	if _, err := stop(); err != nil {
		t.Error(err)
	}
	for name, text := range map[string]string{"no token": "north\n", "a name twice": "a 1\na 2\n", "nobody": "# none\n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readTokens(file); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestCommandLinesThatMakeNoSense(t *testing.T) {
	dir := t.TempDir()
	for _, line := range []string{
		"", "frobnicate", "run", "run -data " + dir + " extra", "run -data " + dir + " -frob", "ledger", "ledger -data x -url y",
		"export -data " + dir + " -lane urgent", "export -data " + dir + " -from x", "import -data " + dir, "import x",
		"run -data " + dir + " -listen 0.0.0.0:0", // open to everybody
	} {
		err := command(t.Context(), strings.Fields(line), streams{io.Discard, io.Discard})
		if wrong := new(usageError); !errors.As(err, wrong) {
			t.Errorf("%q: got %v, want an error of usage", line, err)
		}
	}
	for _, line := range []string{"help", "-h", "run -h", "export -help"} {
		if got := do(t, strings.Fields(line)...); got != usage {
			t.Errorf("%q printed %q", line, got)
		}
	}
	if got := do(t, "version"); !strings.HasPrefix(got, "tidegate-cloud ") {
		t.Errorf("version is %q", got)
	}
}

func TestFailuresEndInAHint(t *testing.T) {
	for _, line := range []string{
		"ledger -data " + filepath.Join(t.TempDir(), "nothing"),
		"ledger -url http://127.0.0.1:1",
		"run -listen 127.0.0.1:99999 -data " + t.TempDir(),
	} {
		err := command(t.Context(), strings.Fields(line), streams{io.Discard, io.Discard})
		if err == nil || !strings.Contains(err.Error(), "hint: ") {
			t.Errorf("%q: got %v", line, err)
		}
	}
}

// The signals of a service manager and of Ctrl-C end the program in order.
func TestSignalsStopCleanly(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		child := rerun.Command("run", "-listen", "127.0.0.1:0", "-data", t.TempDir())
		child.Env = append(os.Environ(), asProgram+"=1")
		logs, err := child.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		address(t, logs)
		if err := child.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		rest, _ := io.ReadAll(logs)
		if err := child.Wait(); err != nil {
			t.Errorf("%v: %v, %s", signal, err, fmt.Sprintf("%s", rest))
		}
	}
}

func TestLedgerTellsOnceOfTwoGatewaysUnderOneName(t *testing.T) {
	var out strings.Builder
	at := time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC).UnixNano()
	err := printLedger(&out, []cloud.LaneLedger{
		{Gateway: "g", Epoch: "a1", Lane: "alarm", Twin: "b2", TwinAt: at - 1e9},
		{Gateway: "g", Epoch: "b2", Lane: "normal", Twin: "a1", TwinAt: at},
		{Gateway: "h", Epoch: "c3", Lane: "normal"},
	})
	const want = "g: two gateways deliver under this name, in the epochs b2 and a1, last seen 2027-03-01T12:00:00Z — hint: "
	if err != nil || strings.Count(out.String(), "two gateways") != 1 || !strings.Contains(out.String(), want) {
		t.Errorf("%v, %s", err, &out)
	}
}
