package daemon

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tidegate/tidegate/buffer"
	"github.com/tidegate/tidegate/internal/conf"
)

// parseFormat checks the format of an export, which the file's name tells when
// nobody says.
func (c *bufferCall) parseFormat() error {
	if c.format == "" {
		c.format = map[string]string{".csv": "csv", ".chunks": "packed"}[filepath.Ext(c.out)]
	}
	if c.format == "" {
		c.format = "ndjson"
	}
	if extensions()[c.format] == "" {
		return fmt.Errorf("-format: %w", noFormat(c.format))
	}
	if c.format == "packed" && (c.query.Device != "" || c.query.Metric != "") {
		return errors.New("a packed file holds whole blocks, so -device and -metric have no place — hint: use -format ndjson")
	}
	return nil
}

// export copies readings out, the oldest first, into a file that is whole or
// not there.
func (c *bufferCall) export(ctx context.Context) error {
	c.query.NewestFirst = false
	inv, err := c.inventory(ctx)
	if err != nil {
		return err
	}
	if c.out == "" {
		out := bufio.NewWriterSize(c.stdout, 64<<10)
		n, err := c.copyOf(inv).to(ctx, out)
		err = errors.Join(err, out.Flush())
		c.sum(n, "standard output", err)
		return c.adviseQuery(err)
	}
	if _, err := os.Lstat(c.out); err == nil {
		return fmt.Errorf("%s is there already — hint: choose another name, or remove it", c.out)
	}
	n, err := c.copyOf(inv).file(ctx, c.out)
	err = notWritten(c.out, err)
	c.sum(n, c.out, err)
	return c.adviseQuery(err)
}

// copyOf is what the call asks for, of what the inventory tells of.
func (c *bufferCall) copyOf(inv buffer.Inventory) *export {
	return &export{gateway: c.gateway, format: c.format, query: c.query, refused: c.refused, inventory: inv}
}

// sum says what was exported.
func (c *bufferCall) sum(n exported, to string, err error) {
	if err != nil && !errors.Is(err, buffer.ErrLeftOut) {
		return
	}
	chunks := ""
	if c.format == "packed" {
		chunks = " in " + count(n.chunks, "chunk")
	}
	fmt.Fprintf(c.stderr, "%s%s, %s, to %s\n", count(n.readings, "reading"), chunks, conf.Size(n.bytes).Approx(), to)
}
