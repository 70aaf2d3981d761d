package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/tidegate/tidegate/ingest/frame"
	"github.com/tidegate/tidegate/internal/conf"
)

// lineDoor is a door whose payloads come in frames and all mean the same.
type lineDoor struct {
	meaning
	device, metric string
	framing        Framing
}

// lineDoors returns them by their names.
func (c Config) lineDoors() map[string]lineDoor {
	doors := map[string]lineDoor{}
	for _, s := range c.Ingest.Serial {
		doors[s.doorName()] = lineDoor{s.meaning(), cmp.Or(s.Device, s.Name), s.Metric, s.Framing}
	}
	for _, l := range c.Ingest.Line {
		doors[l.doorName()] = lineDoor{l.meaning(), l.Device, l.Metric, l.Framing}
	}
	return doors
}

// isLineDoor says whether the door is named as those are that have no routes.
func (c *testCall) isLineDoor() bool { return strings.Contains(c.door, ":") }

// aimAtLine lets payloads come through a serial line or a socket: what is read is
// a stream of bytes, with frames in it.
func (c *testCall) aimAtLine(cfg Config, v vocabulary) (meaning, error) {
	if c.topic != "" || c.lines {
		return meaning{}, fmt.Errorf("-door %s has no topics and a framing of its own — hint: leave out -topic and -lines", c.door)
	}
	doors := cfg.lineDoors()
	door, known := doors[c.door]
	if !known {
		return meaning{}, fmt.Errorf("-door: there is no door %q — hint: %s", c.door, conf.Suggest(c.door, slices.Sorted(maps.Keys(doors))))
	}
	c.target = v.target(door.meaning, cmp.Or(c.device, door.device), cmp.Or(c.metric, door.metric))
	c.where = "as through " + c.door + ", framing " + door.framing.String()
	var err error
	c.frames, err = frame.New(door.framing.build())
	return door.meaning, err
}

// splitFrames cuts a stream into the frames that the door would find. Its end is
// a silence.
func (c *testCall) splitFrames(ctx context.Context, in io.Reader, give func([]byte)) error {
	buffer := make([]byte, 16<<10)
	for ctx.Err() == nil {
		n, err := in.Read(buffer)
		c.frames.Write(buffer[:n])
		c.giveFrames(give)
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
	}
	c.frames.Idle()
	c.giveFrames(give)
	c.frames.Reset()
	return nil
}

func (c *testCall) giveFrames(give func([]byte)) {
	for f, ok := c.frames.Next(); ok; f, ok = c.frames.Next() {
		give(f)
	}
}

// damage puts into words what of a stream was no good frame; "" if all was.
func damage(s frame.Stats) string {
	frames := counts{
		{s.BadChecksum, "failed the checksum"}, {s.Broken, "not coded as it should be"},
		{s.TooLong, "too long"}, {s.Partial, "cut short"},
	}.String()
	if s.Garbage == 0 {
		return frames
	}
	bytes := count(s.Garbage, "byte") + " belong to no frame"
	if frames == "" {
		return bytes
	}
	return frames + ": " + bytes
}
