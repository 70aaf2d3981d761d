package passwd

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tidegate/tidegate/internal/base/whole"
)

// Set gives a user a password in the file at path, which is made if there is
// none. Other lines stay as they are.
func Set(path, user string, password []byte) error {
	if err := checkPassword(len(password)); err != nil {
		return err
	}
	if err := checkName(user); err != nil {
		return err
	}
	_, err := edit(path, user, appendLine(nil, user, hash(password)))
	return err
}

// checkPassword says what is wrong with a password of so many bytes.
func checkPassword(size int) error {
	switch {
	case size == 0:
		return errors.New("the password is empty")
	case size > MaxPassword:
		return fmt.Errorf("the password has more than %d bytes", MaxPassword)
	}
	return nil
}

// CheckLine says what is wrong with what Line is to make a line of, and costs nothing. No
// error shows the password.
func CheckLine(user, password string) error {
	if err := checkName(user); err != nil {
		return err
	}
	if isHash(password) {
		_, err := parseHash(password)
		return err
	}
	return checkPassword(len(password))
}

// isHash says whether this looks like a hash of the kinds $7$ and $6$.
func isHash(password string) bool {
	return strings.HasPrefix(password, "$7$") || strings.HasPrefix(password, "$6$")
}

// Line returns the line of a user, without its end. What looks like a hash of the kinds
// $7$ and $6$ is one; else it is the password, and costs a hash. No error shows it.
func Line(user, password string) (string, error) {
	if err := CheckLine(user, password); err != nil {
		return "", err
	}
	if !isHash(password) {
		return string(appendLine(nil, user, hash([]byte(password)))), nil
	}
	if e, err := parseHash(password); err == nil && e.rounds > 0 {
		return string(appendLine(nil, user, e)), nil
	}
	return user + ":" + password, nil
}

// Hash returns a password as it stands behind a user's name: $7$rounds$salt$hash.
// It costs as much as a login.
func Hash(password []byte) string { return string(appendHash(nil, hash(password))) }

func hash(password []byte) entry {
	e := entry{rounds: Rounds, salt: make([]byte, 12)}
	rand.Read(e.salt) // never fails
	e.hash = e.digest(password)
	return e
}

// Delete takes a user out of the file at path.
func Delete(path, user string) error {
	known, err := edit(path, user, nil)
	if err == nil && !known {
		return fmt.Errorf("%s has no user %q", path, user)
	}
	return err
}

// edit puts line in the place of the user's line, or at the end; nil takes the
// user's line away. It says whether there was one. Who edits the file meanwhile waits,
// and does not undo what this one writes.
func edit(path, user string, line []byte) (known bool, err error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // a link stays one
	}
	err = whole.Alone(filepath.Dir(path), func() error {
		known, err = editAlone(path, user, line)
		return err
	})
	return known, err
}

func editAlone(path, user string, line []byte) (known bool, err error) {
	old, err := os.ReadFile(path)
	if err != nil && !(errors.Is(err, fs.ErrNotExist) && line != nil) {
		return false, fmt.Errorf("read passwords: %w", err)
	}
	if _, err := Parse(path, old); err != nil {
		return false, err // it would be written as wrong as it is
	}
	var edited []byte
	for l := range bytes.Lines(old) {
		if name, _, ok := cutLine(string(bytes.TrimRight(l, "\n"))); ok && name == user {
			l, known = line, true
		}
		edited = appendEnded(edited, l)
	}
	if !known {
		edited = appendEnded(edited, line)
	}
	if line == nil && !known {
		return false, nil
	}
	return known, replace(path, edited)
}

// appendEnded appends a line and its end, if there is a line.
func appendEnded(dst, line []byte) []byte {
	if len(line) == 0 {
		return dst
	}
	return append(append(dst, bytes.TrimRight(line, "\n")...), '\n')
}

// replace writes a file that is for its owner, and for its group if that could read it
// before. The owner stays, because the gateway runs as another user than who edits its
// passwords.
func replace(path string, text []byte) error {
	info, err := os.Stat(path)
	switch {
	case err == nil:
		as := whole.Like(info)
		as.Mode = 0o600 | as.Mode&0o040
		err = whole.Write(path, text, as)
	case errors.Is(err, fs.ErrNotExist):
		err = create(path, text)
	}
	if err != nil {
		return fmt.Errorf("write passwords: %w", err)
	}
	return nil
}

// create makes a file that is whose the folder is: who edits passwords is root, and who
// reads them the gateway.
func create(path string, text []byte) error {
	info, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return err
	}
	as := whole.Like(info)
	as.Mode = 0o600
	if err := whole.Write(path, text, as); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return whole.Write(path, text, whole.Mine(0o600)) // whoever may not give it away reads it himself
}
