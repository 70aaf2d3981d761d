package starts

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
)

// CrashFile keeps what the program said when it last ended by a panic, or by a signal
// after which the runtime says where everything was.
const CrashFile = "last-crash.txt"

const (
	// crashOut is where the runtime writes, if ever.
	crashOut = "crash.txt"
	// maxCrash bounds what is kept of it, in bytes.
	maxCrash = 64 << 10
)

// collect keeps what the last run has said at its end, and lets the runtime write there
// what this one will. A run that ends otherwise writes nothing to flash.
func collect(dir string) (crash string, err error) {
	out := filepath.Join(dir, crashOut)
	if info, err := os.Lstat(out); err == nil && info.Mode().IsRegular() && info.Size() > 0 {
		if info.Size() > maxCrash {
			_ = os.Truncate(out, maxCrash) // or it is kept whole
		}
		if err := os.Rename(out, filepath.Join(dir, CrashFile)); err != nil {
			return "", err
		}
		crash = FirstWords(dir)
	}
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return crash, err
	}
	return crash, errors.Join(debug.SetCrashOutput(f, debug.CrashOptions{}), f.Close()) // it has a descriptor of its own
}

// FirstWords returns the line that says why the program ended when it last ended by a
// panic, or by a signal as the watchdog's SIGABRT; empty if it never did.
func FirstWords(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, CrashFile))
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(text) {
		line := strings.TrimSpace(string(line))
		for _, begin := range []string{"panic: ", "fatal error: ", "runtime: ", "SIG"} {
			if strings.HasPrefix(line, begin) {
				return line[:min(len(line), 300)]
			}
		}
	}
	return ""
}
