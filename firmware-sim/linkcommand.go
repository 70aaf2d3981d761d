package firmwaresim

import (
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"github.com/tidegate/tidegate/internal/conf"
)

const linkUsage = `
Passes TCP connections on and does to them what the script says. A script is
steps of a time since the start and an action, divided by commas or newlines:

  20s cut              connections are reset, new ones too
  30s hangup           as cut, but closed politely
  40s restore          ends cut, hangup and blackhole
  50s blackhole        connections stay, nothing moves
  60s delay 150ms      one way
  60s bandwidth 32kB   bytes a second, each way; 0B: no limit
  70s cutafter 100kB   cut after so many more bytes to -to

Examples:
  firmware-sim link -listen 127.0.0.1:9440 -to 127.0.0.1:8440 -script "20s cut, 40s restore"
  firmware-sim link -to 127.0.0.1:8440 -delay 150ms -bandwidth 32kB
  firmware-sim link -to 127.0.0.1:8440 -script @storm.txt`

func runLink(ctx context.Context, args []string, to console) error {
	flags := newFlags("link", linkUsage, to)
	listen := flags.String("listen", "127.0.0.1:0", "`host:port` of the near side; port 0: any free one")
	far := flags.String("to", "", "`host:port` of the far side")
	text := flags.String("script", "", "the `script`, or @file")
	delay := flags.Duration("delay", 0, "latency one way")
	var bandwidth conf.Size
	flags.TextVar(&bandwidth, "bandwidth", conf.Size(0), "`bytes` a second each way, such as 32kB; 0B: no limit")
	if err := parseFlags(flags, args); err != nil {
		return err
	}
	if *far == "" {
		return usageError{errors.New("-to is missing — hint: firmware-sim help link")}
	}
	steps, err := readScript(*text)
	if err != nil {
		return err
	}
	link, err := OpenLink(*listen, *far)
	if err != nil {
		return err
	}
	link.Delay(*delay)
	link.Bandwidth(int64(bandwidth))
	return playLink(ctx, link, *far, steps, newDisplay(to.out))
}

// readScript reads a script from the text, or from the file that @ names.
func readScript(text string) ([]Step, error) {
	text, err := scriptText(text)
	if err != nil {
		return nil, err
	}
	steps, err := ParseScript(text)
	if err != nil {
		return nil, usageError{err}
	}
	return steps, nil
}

// scriptText returns the text, or what is in the file that @ names.
func scriptText(text string) (string, error) {
	name, isFile := strings.CutPrefix(text, "@")
	if !isFile {
		return text, nil
	}
	content, err := os.ReadFile(name)
	return string(content), err
}

// playLink serves a link, plays its script and tells of both.
func playLink(ctx context.Context, link *Link, far string, steps []Step, show *display) error {
	show.say("%s passes on to %s", link.Addr(), far)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	played := make(chan struct{})
	go func() {
		defer close(played)
		link.Play(ctx, steps, func(s Step) {
			up, down := link.Bytes()
			show.say("%7s  %-20s %s bytes up, %s down so far", s.At.Round(time.Millisecond), s.What,
				thousands(uint64(up)), thousands(uint64(down)))
		})
	}()
	err := link.Run(ctx)
	cancel()
	<-played
	up, down := link.Bytes()
	show.say("%s bytes up, %s down", thousands(uint64(up)), thousands(uint64(down)))
	return err
}
