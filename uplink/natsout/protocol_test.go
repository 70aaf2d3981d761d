package natsout

import (
	"bytes"
	"testing"
)

// FuzzHeaderValues: whatever a value is, it is one line.
func FuzzHeaderValues(f *testing.F) {
	f.Add("a\r\nNats-Rollup: all")
	f.Fuzz(func(t *testing.T, value string) {
		line := appendHeader(nil, "name", value)
		if bytes.Count(line, []byte("\n")) != 1 || bytes.Count(line, []byte("\r")) != 1 || len(line) != len("name: \r\n")+len(value) {
			t.Errorf("%q", line)
		}
	})
}
