package daemon

import (
	"errors"
	"fmt"
	"slices"

	"github.com/tidegate/tidegate/internal/conf"
)

// schema is the one that this program knows.
const schema = 1

func (c Config) checkSchema(r refuse) {
	switch {
	case c.Schema > schema:
		r("schema", fmt.Sprintf("install the tidegate that the file was written for, or a later one; this is %s. What the file was before may be in its .previous", Version),
			"%d is of a later version of the program, which knows schemas up to %d", c.Schema, schema)
	case c.Schema < 1:
		r("schema", "write 1, or leave the line out", "there is no schema %d", c.Schema)
	}
}

// onlyOf returns the problem with the key.
func onlyOf(key string, err error) error {
	var all conf.Problems
	if errors.As(err, &all) {
		return slices.DeleteFunc(all, func(p conf.Problem) bool { return p.Key != key })
	}
	return err
}
