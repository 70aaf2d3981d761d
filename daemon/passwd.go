package daemon

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/tidegate/tidegate/internal/passwd"
)

// passwd sets or deletes the password of an MQTT user. A running gateway takes
// notice by itself, unless the file is a credential.
func (c *call) passwd() error {
	path, restart := c.passwords, false
	if path == "" {
		cfg, err := c.load()
		if err != nil {
			return err
		}
		if path = cfg.Ingest.MQTT.PasswordFile; path == "" {
			return errors.New("the configuration names no password file — hint: set ingest.mqtt.password_file, or use -file")
		}
		path, restart = machineCredentials().source(path)
	}
	if err := c.edit(path); err != nil || !restart {
		return err
	}
	_, err := fmt.Fprintf(c.stderr, "%s is a credential, which the gateway is given when it starts: systemctl restart tidegate\n", path)
	return err
}

// edit changes the file of passwords.
func (c *call) edit(path string) error {
	if c.delete {
		return passwd.Delete(path, c.user)
	}
	password, err := askPassword(os.Stdin, c.stderr)
	if err != nil {
		return fmt.Errorf("read the password: %w", err)
	}
	return passwd.Set(path, c.user, password)
}

// askPassword reads a password: twice and unseen from a terminal, or else the
// first line.
func askPassword(in *os.File, prompts io.Writer) ([]byte, error) {
	lines := bufio.NewReader(in)
	terminal, err := unix.IoctlGetTermios(int(in.Fd()), unix.TCGETS)
	if err != nil {
		return readLine(lines)
	}
	unseen := *terminal
	unseen.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, &unseen); err != nil {
		return nil, err
	}
	defer unix.IoctlSetTermios(int(in.Fd()), unix.TCSETS, terminal)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM) // not to leave the terminal blind
	defer signal.Stop(interrupted)
	answered := make(chan error, 1)
	var password []byte
	go func() {
		var err error
		password, err = askTwice(lines, prompts)
		answered <- err
	}()
	select {
	case err := <-answered:
		return password, err
	case <-interrupted:
		return nil, errors.New("interrupted")
	}
}

func askTwice(lines *bufio.Reader, prompts io.Writer) ([]byte, error) {
	ask := func(prompt string) ([]byte, error) {
		fmt.Fprint(prompts, prompt)
		defer fmt.Fprintln(prompts)
		return readLine(lines)
	}
	password, err := ask("Password: ")
	if err != nil {
		return nil, err
	}
	again, err := ask("Again: ")
	if err == nil && !bytes.Equal(password, again) {
		err = errors.New("the two are not the same")
	}
	return password, err
}

// readLine reads a line without its end.
func readLine(lines *bufio.Reader) ([]byte, error) {
	line, err := lines.ReadBytes('\n')
	if errors.Is(err, io.EOF) && len(line) > 0 {
		err = nil
	}
	return bytes.TrimRight(line, "\r\n"), err
}
