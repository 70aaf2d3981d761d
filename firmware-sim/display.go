package firmwaresim

import (
	"fmt"
	"io"
	"os"
	"time"
)

// display shows a running command: one line that is renewed in place on a
// terminal, and a line now and then anywhere else.
type display struct {
	to       io.Writer
	terminal bool
	open     bool // the terminal's cursor stands behind a renewed line
}

func newDisplay(to io.Writer) *display {
	d := &display{to: to}
	if file, ok := to.(*os.File); ok {
		info, err := file.Stat()
		d.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return d
}

// interval is how often to call renew.
func (d *display) interval() time.Duration {
	if d.terminal {
		return 250 * time.Millisecond
	}
	return 2 * time.Second
}

const clearLine = "\r\x1b[K"

// renew replaces the running line.
func (d *display) renew(format string, args ...any) {
	if !d.terminal {
		fmt.Fprintf(d.to, format+"\n", args...)
		return
	}
	fmt.Fprintf(d.to, clearLine+format, args...)
	d.open = true
}

// say writes a line that stays.
func (d *display) say(format string, args ...any) {
	if d.open {
		fmt.Fprint(d.to, clearLine)
		d.open = false
	}
	fmt.Fprintf(d.to, format+"\n", args...)
}

// thousands writes a number with separators: 1,234,567.
func thousands(n uint64) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
