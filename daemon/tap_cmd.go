package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate/tidegate/dashboard"
	"github.com/tidegate/tidegate/dashboard/api"
	"github.com/tidegate/tidegate/ingest/serialin"
	"github.com/tidegate/tidegate/internal/serialport"
)

// tapRoutes shows the bytes of a serial line to who asks, one piece a line, until
// they go away.
func (d *Daemon) tapRoutes() []dashboard.Route {
	return []dashboard.Route{{Pattern: "GET /api/v1/tap", Access: dashboard.Operate, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("door")
		line := d.line(name)
		if line == nil {
			api.Answer(w, nil, api.NotFound(errNoLine(name)))
			return
		}
		pieces, stop := line.Tap()
		defer stop()
		out := api.NewLines(w)
		if out.Begin() != nil {
			return
		}
		err := d.bench.look(r.Context(), name, line, pieces, func(p serialin.Piece) error { return out.Write(p) })
		if errors.Is(err, errAnew) {
			out.End(err)
		}
	})}}
}

// errAnew means that nothing comes any more through a door that another configuration has
// ended. With other settings, what comes would be another thing.
var errAnew = errors.New("has begun anew, or ended, with another configuration — hint: look at it once more")

// look shows the pieces of a line that a door reads until ctx ends, or the door, or they
// cannot be shown.
func (w *workbench) look(ctx context.Context, door string, line *serialin.Source, pieces <-chan serialin.Piece, show func(serialin.Piece) error) error {
	again := time.NewTicker(tellQuiet)
	defer again.Stop()
	for {
		select {
		case p := <-pieces:
			if err := show(p); err != nil {
				return err
			}
		case <-again.C:
			if w.here.line(door) != line {
				return fmt.Errorf("%s %w", door, errAnew)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tap looks at a line through the gateway that reads it, or opens the port.
func (c *lineCall) tap() error {
	cfg, err := c.load()
	if err != nil {
		return err
	}
	ctx, stop := c.context(c.length)
	defer stop()
	s, known := c.configured(cfg)
	if !known && strings.HasPrefix(c.what, "serial:") {
		return usageError{fmt.Errorf("there is no line %q in the configuration — hint: \"tidegate ports\" lists the ports", c.what)}
	}
	p := &tapPrinter{w: c.stdout}
	defer p.end()
	if known {
		p.title = title(s.doorName(), s.Port, s.port().String())
		err := tapGateway(ctx, cfg.Gateway.SocketPath(), s.doorName(), p)
		if !errors.Is(err, errNoGateway) {
			return err
		}
		fmt.Fprintln(c.stderr, "no gateway runs: opening the port")
		return tapPort(ctx, s.port(), p)
	}
	port := serialport.Config{Path: c.what, Host: c.host}
	if port.Baud, err = strconv.Atoi(c.bauds); err != nil {
		return usageError{fmt.Errorf("%q is no speed — hint: for example 9600", c.bauds)}
	}
	if port.DataBits, port.Parity, port.StopBits, err = parseFormat(c.format); err != nil {
		return err
	}
	p.title = title(c.what, "", port.String())
	return tapPort(ctx, port, p)
}

// tapGateway prints what a running gateway sees.
func tapGateway(ctx context.Context, socket, door string, p *tapPrinter) error {
	return streamAdmin(ctx, socket, http.MethodGet, "/api/v1/tap?door="+url.QueryEscape(door), nil, p.begin, func(piece serialin.Piece) error {
		p.show(piece)
		return nil
	})
}

// tapPort opens a port and prints what comes.
func tapPort(ctx context.Context, c serialport.Config, p *tapPrinter) error {
	port, err := serialport.Open(c)
	if err != nil {
		return err
	}
	defer port.Close()
	stop := context.AfterFunc(ctx, func() { port.Close() })
	defer stop()
	p.begin()
	if err := readPieces(port, 0, p.show, nil); !errors.Is(err, os.ErrClosed) {
		return err
	}
	return nil
}

// tapPrinter prints bytes as hex and as text, 16 in a row.
type tapPrinter struct {
	w                        io.Writer
	title                    string
	begun                    bool
	in, out, damaged, missed int
}

// title says what is shown, and what the marks mean.
func title(name, port, settings string) string {
	return fmt.Sprintf("%s  %s\n< from the device   > to it   ! damaged   Ctrl-C ends\n\n", strings.TrimSpace(name+"  "+port), settings)
}

// begin prints the title, once there is a line to look at.
func (p *tapPrinter) begin() {
	p.begun = true
	io.WriteString(p.w, p.title)
}

const perRow = 16

func (p *tapPrinter) show(piece serialin.Piece) {
	if piece.Missed > 0 {
		p.missed += piece.Missed
		fmt.Fprintf(p.w, "              … %d pieces were too fast to be shown\n", piece.Missed)
	}
	mark := "<"
	if piece.Direction == serialin.Out {
		mark = ">"
		p.out += len(piece.Bytes)
	} else {
		p.in += len(piece.Bytes)
	}
	at := piece.At.Format("15:04:05.000")
	for b := piece.Bytes; len(b) > 0; {
		row := b[:min(perRow, len(b))]
		b = b[len(row):]
		last := ""
		if piece.Damaged && len(b) == 0 {
			last = " !"
			p.damaged++
		}
		fmt.Fprintf(p.w, "%s %s  %-*s  %s%s\n", at, mark, 3*perRow, spacedHex(row), asText(row), last)
		at = strings.Repeat(" ", len(at)) // of the first row only
	}
}

func spacedHex(row []byte) string {
	var b strings.Builder
	for i, c := range row {
		if i == perRow/2 {
			b.WriteByte(' ')
		}
		fmt.Fprintf(&b, "%02x ", c)
	}
	return strings.TrimSuffix(b.String(), " ")
}

// asText shows what can be printed, and the ends of lines as what they are.
func asText(row []byte) string {
	var b strings.Builder
	for _, c := range row {
		switch {
		case c == '\n':
			b.WriteString("␊")
		case c == '\r':
			b.WriteString("␍")
		case c == '\t':
			b.WriteString("␉")
		case c < ' ' || c > '~':
			b.WriteString("·")
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// end sums up.
func (p *tapPrinter) end() {
	if !p.begun {
		return
	}
	fmt.Fprintf(p.w, "\n%d bytes from the device, %d to it", p.in, p.out)
	if p.damaged > 0 {
		fmt.Fprintf(p.w, ", %d damaged (are speed and parity right?)", p.damaged)
	}
	if p.missed > 0 {
		fmt.Fprintf(p.w, ", %d pieces not shown", p.missed)
	}
	fmt.Fprintln(p.w)
}
