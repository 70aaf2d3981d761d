package docs_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// elsewhere says of blocks that are neither run nor parsed what holds them, or why
// nothing can: "page: how its first line begins".
var elsewhere = map[string]string{
	"README.md: sensors":                       "a picture",
	"docs/understand/WALK.md: socket → guard":  "a picture",
	"docs/understand/threat-model.md: sensors": "a picture",
	"docs/operate/sizing.md: $ tidegate plan":  "TestExamplesOfSizingAreWhatIsPrinted, to the letter",
	"docs/operate/install.md: SUBSYSTEM==":     "a rule of udev, which no session has",
	"docs/connect/amqp-uplink.md: basic.publ":  "TestReceiverCountsEachReadingOnce reads these with a client of its own",
	"docs/connect/amqp1-uplink.md: header":     "TestRealReadersGetWhatHasLongNames reads these with a client of its own",
	"docs/connect/coap.md: # identity:key":     "the session has a file of this form, TestPages",
	"docs/connect/commands.md: import hashlib": "TestOtherLanguagesRead parses it; what it signs is held by the tests of package command",
	"docs/connect/file-uplink.md: stick-2026":  "TestFilesAreFinishedBySize",
	"docs/connect/http-ingest.md: POST /v1/in": "TestRequestIsTheOneInThePackageComment",
	"docs/connect/http.md: pump-7":             "the session has a file of this form; TestWrongTokenFilesAreRefusedWithTheLine",
	"docs/connect/mqtt-uplink.md: # mosquitto": "TestRawPassThroughTakesThePlaceOfABridge",
	"docs/connect/receiver.md: store, err":     "TestOtherLanguagesRead parses it; cmd/tidegate-cloud is made of the same",
	"docs/connect/redis-uplink.md: XADD plant": "TestEntryIsTheOneInThePackageComment",
	"docs/connect/serial.md: serial:boiler":    "a pseudo terminal has neither parity nor USB; TestAdviceIsWhatTheCountsMean has the numbers",
	"docs/connect/stomp-uplink.md: SEND":       "TestFramesAreTheOneInThePackageComment",
	"docs/connect/websocket-uplink.md: GET /v": "TestHandshakeAndFramesAreThoseOfThePackageComment",
	"docs/connect/websocket-uplink.md: applic": "TestHandshakeAndFramesAreThoseOfThePackageComment",
	"docs/operate/buffer.md: ✗ segment 1":      "TestScripts: daemon/testdata/script/buffer.txtar spoils a segment and looks for these lines",
	"docs/operate/dashboard.md: dashboard  ht": "TestPages: every gateway prints it at its start",
	"docs/operate/dashboard.md: level=WARN ms": "TestWrongPasswordsAreToldHowLongToWait",
	"docs/operate/diagnose.md: $ tidegate dia": "a link over a modem and a clock that is wrong; TestEveryFaultOfTheNetworkHasItsVerdict, TestEveryFaultOfEncryptionHasItsVerdict",
	"docs/reference/api.md: {\"id\": \"cloud/": "TestQuarantineIsListedReadInPagesAndChanged",
	"docs/reference/api.md: [{\"mount\"":       "no session has a stick; TestOnlyWhatSomebodyMayPullIsAStick",
	"docs/reference/api.md: {\"mount\"":        "the body of a request; TestAStickGetsAWholeFileOrNone",
	"docs/reference/api.md: {\"bytes\"":        "TestAStickGetsAWholeFileOrNone",
	"docs/reference/api.md: {\"problems\"":     "the page's own TestConfigurationInABrowser and TestScripts",
	"docs/reference/api.md: $ curl --unix-soc": "TestEveryFaultOfTheNetworkHasItsVerdict",
	"docs/reference/api.md: {\"ports\"":        "no session has an adapter; TestWatchedPortsAreToldByWhatHasChanged",
	"docs/reference/api.md: {\"say\":\"19200":  "TestAFloodThroughTheAPIIsBounded",
	"docs/reference/api.md: {\"say\":\"9600":   "TestProbeProposesAConfigurationThatParses",
	"docs/reference/api.md: {\"found\"":        "TestAScanOfAFreePortProposesWhatReadsIt",
	"docs/reference/metrics.md: scrape_config": "Prometheus's own configuration",
	"docs/reference/refine.md: refined: 3":     "TestStatusWordsWhatWasRefined",
}

// TestReasonsNameTestsThatAreThere looks for every test that a table names.
func TestReasonsNameTestsThatAreThere(t *testing.T) {
	have := testNames(t)
	for block, reason := range elsewhere {
		for _, name := range testName.FindAllString(reason, -1) {
			if !have[name] {
				t.Errorf("%s is held by %s, which no test is called", block, name)
			}
		}
	}
}

var testName = regexp.MustCompile(`\b(?:Test|Fuzz|Benchmark)[A-Z]\w+`)

// testNames returns the names of all tests of the repository.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	have := make(map[string]bool)
	err := filepath.WalkDir(root, func(name string, _ os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(name)
		for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Fuzz|Benchmark)\w+)\(`).FindAllSubmatch(text, -1) {
			have[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return have
}

// TestOtherLanguagesRead parses what is shown in Python and Go, and the recipes.
func TestOtherLanguagesRead(t *testing.T) {
	python := func(what, text string) {
		if _, err := exec.LookPath("python3"); err != nil {
			t.Skip("python3 is not installed")
		}
		cmd := exec.Command("python3", "-c", "import sys; compile(sys.stdin.read(), 'page', 'exec')")
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", what, err, out)
		}
	}
	for _, page := range pages(t) {
		for _, b := range blocksOf(t, page) {
			switch b.language() {
			case "python":
				python(b.String(), b.text)
			case "go":
				cmd := exec.Command("gofmt", "-e")
				cmd.Stdin = strings.NewReader(b.text)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %v: %s", b, err, bytes.TrimSpace(out))
				}
			}
		}
	}
}
