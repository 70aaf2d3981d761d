package mqttin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"time"
)

// puppet is a client in another language: a process that is told what to do, in
// lines of JSON.
type puppet struct {
	cmd      *exec.Cmd
	commands io.WriteCloser
	answers  chan answer
	inbox    chan received
}

// answer is a line that a puppet prints.
type answer struct {
	OK      bool      `json:"ok"`
	Present *bool     `json:"present"`
	Message *received `json:"message"`
	Err     string    `json:"-"` // what was printed was no answer
}

func connectPuppet(t *testing.T, h how, program, script string) (realClient, bool, error) {
	if testing.Short() {
		t.Skip("five processes a dialogue take seconds")
	}
	arg, err := json.Marshal(h)
	if err != nil {
		return nil, false, err
	}
	p := &puppet{cmd: exec.Command(program, script, string(arg)), answers: make(chan answer, 8), inbox: make(chan received, 8)}
	p.cmd.Stderr = t.Output()
	if p.commands, err = p.cmd.StdinPipe(); err != nil {
		return nil, false, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, false, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, false, err
	}
	heard := make(chan struct{})
	go p.hear(out, heard)
	t.Cleanup(func() {
		p.cmd.Process.Kill() // it may have ended
		<-heard
		p.cmd.Wait()
	})
	first, err := p.answer()
	if err == nil && first.Present == nil {
		err = fmt.Errorf("%s: got %+v before it was connected", script, first)
	}
	return p, err == nil && *first.Present, err
}

func (p *puppet) hear(out io.Reader, heard chan<- struct{}) {
	defer close(heard)
	defer close(p.answers)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var a answer
		if err := json.Unmarshal(lines.Bytes(), &a); err != nil {
			p.answers <- answer{Err: fmt.Sprintf("%q: %v", lines.Text(), err)}
			return
		}
		if a.Message != nil {
			p.inbox <- *a.Message
		} else {
			p.answers <- a
		}
	}
}

func (p *puppet) answer() (answer, error) {
	select {
	case a, ok := <-p.answers:
		switch {
		case !ok:
			return a, errors.New("the client has ended")
		case a.Err != "":
			return a, errors.New(a.Err)
		}
		return a, nil
	case <-time.After(longPatience):
		return answer{}, errors.New("the client does not answer")
	}
}

func (p *puppet) ask(command map[string]any) error {
	if err := json.NewEncoder(p.commands).Encode(command); err != nil {
		return err
	}
	_, err := p.answer()
	return err
}

func (p *puppet) subscribe(topic string, qos byte) error {
	return p.ask(map[string]any{"do": "subscribe", "topic": topic, "qos": qos})
}

func (p *puppet) publish(topic, payload string, qos byte, retain bool) error {
	return p.ask(map[string]any{"do": "publish", "topic": topic, "payload": payload, "qos": qos, "retain": retain})
}

func (p *puppet) messages() <-chan received { return p.inbox }

func (p *puppet) leave(politely bool) error {
	if !politely {
		return p.cmd.Process.Kill()
	}
	if err := p.ask(map[string]any{"do": "leave"}); err == nil {
		return errors.New("it is still there")
	}
	return nil
}
