package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	firmwaresim "github.com/tidegate/tidegate/firmware-sim"
)

// outlet is a door out: its part of the configuration, and who is at the other end.
type outlet struct {
	name string
	// server and protocol say who listens; no server stands for files.
	server, protocol string
	// table returns the door's table. addr is where the server listens, dir a
	// folder of the door's own.
	table func(addr, dir string) string
	// raw payloads are handed on as they came; the others are decoded.
	raw bool
}

// The servers that this program starts itself.
const (
	theCloud    = "cloud"
	theKafka    = "kafka"
	theSinkhole = "sinkhole"
)

func outlets() []outlet {
	return []outlet{
		{"http, packed", theCloud, "http", door("http", `url = "http://%s/v1/ingest"`), false},
		{"http, json", theCloud, "http", door("http", `url = "http://%s/v1/ingest"`, `encoding = "json"`), false},
		{"websocket, packed", theCloud, "http", door("websocket", `url = "ws://%s/v1/ingest"`), false},
		{"mqtt, packed", "mosquitto", "mqtt", door("mqtt", `url = "mqtt://%s"`), false},
		{"mqtt, raw: a publish each", "mosquitto", "mqtt", door("mqtt", `url = "mqtt://%s"`, `encoding = "raw"`, "properties = false"), true},
		{"kafka, packed", theKafka, "kafka", door("kafka", `brokers = [%q]`, "tls = false"), false},
		{"amqp, packed", "RabbitMQ", "amqp", asGuest(door("amqp", `url = "amqp://%s"`, `declare = "queue"`)), false},
		{"amqp1, packed", "RabbitMQ", "amqp1.0", asGuest(door("amqp1", `url = "amqp://%s"`, `address = "/amq/queue/tidegate"`)), false},
		{"stomp, packed", "ActiveMQ", "stomp", door("stomp", `url = "stomp://%s"`), false},
		{"redis, packed", "Redis", "redis", door("redis", `url = "redis://%s"`), false},
		{"nats, packed", "NATS", "nats", door("nats", `urls = ["nats://%s"]`), false},
		{"file, packed", "", "", intoFiles, false},
	}
}

// door returns the table of a kind. at is the key that says where the server is.
func door(kind, at string, more ...string) func(addr, dir string) string {
	return func(addr, _ string) string {
		text := fmt.Sprintf("[[uplink.%s]]\nname = \"cloud\"\n"+at+"\n", kind, addr)
		for _, line := range more {
			text += line + "\n"
		}
		return text
	}
}

// guestFile is in the door's folder, and holds RabbitMQ's first password.
const guestFile = "guest"

func asGuest(table func(addr, dir string) string) func(addr, dir string) string {
	return func(addr, dir string) string {
		return table(addr, dir) + fmt.Sprintf("username = \"guest\"\npassword_file = %q\n", filepath.Join(dir, guestFile))
	}
}

func intoFiles(_, dir string) string {
	return fmt.Sprintf("[[uplink.file]]\nname = \"cloud\"\ndir = %q\nmin_free = \"0B\"\n", filesBelow(dir))
}

func filesBelow(dir string) string { return filepath.Join(dir, "stick", "files") }

// far is what is behind a door out: a line to a server, or a folder.
type far struct {
	line *firmwaresim.Link // nil for files
	dir  string            // of the door's own
}

// addr is where the door sends to.
func (f far) addr() string {
	if f.line == nil {
		return ""
	}
	return f.line.Addr()
}

// cut makes the other end unreachable: a file is where the folder should be.
func (f far) cut() error {
	if f.line != nil {
		f.line.Cut()
		return nil
	}
	return os.WriteFile(filepath.Dir(filesBelow(f.dir)), nil, 0o600)
}

// restore undoes cut.
func (f far) restore() error {
	if f.line != nil {
		f.line.Restore()
		return nil
	}
	return os.Remove(filepath.Dir(filesBelow(f.dir)))
}

// delay makes the line longer.
func (f far) delay(oneWay time.Duration) {
	if f.line != nil {
		f.line.Delay(oneWay)
	}
}

// carried is how many bytes have passed so far, and in how many segments.
func (f far) carried() (load, error) {
	if f.line != nil {
		up, down := f.line.Bytes()
		segmentsUp, segmentsDown := f.line.Segments()
		return load{up + down, segmentsUp + segmentsDown}, nil
	}
	written := load{}
	err := filepath.WalkDir(filesBelow(f.dir), func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			written.bytes += info.Size()
		}
		return err
	})
	if os.IsNotExist(err) {
		return load{}, nil
	}
	return written, err
}

// load is bytes, and the segments that they have needed.
type load struct{ bytes, segments int64 }

func (l load) less(before load) load {
	return load{l.bytes - before.bytes, l.segments - before.segments}
}

// onTheLine is what IP carries, headers and all.
func (l load) onTheLine() int64 {
	const headers = 20 + 20 + 12 // of IP, of TCP, and its timestamps
	return l.bytes + headers*l.segments
}
