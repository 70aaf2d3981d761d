package vm

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// agent speaks to the program vm-agent of the image, which runs what it is sent.
type agent struct {
	net.Conn
	ready   chan struct{} // closed when it has said so for the first time
	mu      sync.Mutex    // held by who waits for an answer
	number  int
	answers chan string
}

func newAgent(conn net.Conn) *agent {
	a := &agent{Conn: conn, ready: make(chan struct{}), answers: make(chan string, 16)}
	go a.hear()
	return a
}

// hear ends with the connection, which is with the machine's power.
func (a *agent) hear() {
	defer close(a.answers)
	ready := sync.OnceFunc(func() { close(a.ready) })
	for lines := bufio.NewReader(a.Conn); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if line = strings.TrimSpace(line); line == "ready" {
			ready()
			continue
		}
		a.answers <- line
	}
}

// run runs a script and returns its exit code and what it said.
func (a *agent) run(script string, patience time.Duration) (int, string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.number++
	if _, err := fmt.Fprintf(a, "%d %s\n", a.number, base64.StdEncoding.EncodeToString([]byte(script))); err != nil {
		return 0, "", err
	}
	late := time.After(patience)
	for {
		select {
		case line, ok := <-a.answers:
			if !ok {
				return 0, "", errors.New("the machine is off")
			}
			words := append(strings.Fields(line), "", "")
			if words[0] != strconv.Itoa(a.number) {
				continue // the answer to something that was given up
			}
			code, err := strconv.Atoi(words[1])
			if err != nil {
				return 0, "", fmt.Errorf("answer %q: %w", line, err)
			}
			said, err := base64.StdEncoding.DecodeString(words[2])
			return code, string(said), err
		case <-late:
			return 0, "", fmt.Errorf("no answer within %v", patience)
		}
	}
}

// qmp speaks qemu's own language to qemu.
type qmp struct {
	net.Conn
	from *json.Decoder
}

func newQMP(conn net.Conn) (*qmp, error) {
	q := &qmp{conn, json.NewDecoder(conn)}
	var greeting struct{ QMP any }
	if err := q.from.Decode(&greeting); err != nil {
		return nil, err
	}
	return q, q.do("qmp_capabilities", nil)
}

// do runs a command and waits for its answer; what happens meanwhile is passed
// over.
func (q *qmp) do(command string, arguments map[string]any) error {
	if arguments == nil {
		arguments = map[string]any{}
	}
	if err := json.NewEncoder(q).Encode(map[string]any{"execute": command, "arguments": arguments}); err != nil {
		return err
	}
	for {
		var answer struct {
			Return any
			Error  *struct{ Desc string }
			Event  string
		}
		switch err := q.from.Decode(&answer); {
		case errors.Is(err, io.EOF):
			return errors.New("qemu has ended")
		case err != nil:
			return err
		case answer.Error != nil:
			return fmt.Errorf("%s: %s", command, answer.Error.Desc)
		case answer.Event == "":
			return nil
		}
	}
}

// await passes over everything until an event comes.
func (q *qmp) await(event string) error {
	for {
		var happened struct{ Event string }
		if err := q.from.Decode(&happened); err != nil {
			return err
		}
		if happened.Event == event {
			return nil
		}
	}
}
