package passwd

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// quick returns a line with few rounds, so that tests need not wait for it.
func quick(user, password string) string {
	e := entry{rounds: 101, salt: []byte("salt of " + user)}
	e.hash = e.digest([]byte(password))
	return string(appendLine(nil, user, e)) + "\n"
}

func parse(t *testing.T, text string) *Users {
	t.Helper()
	users, err := Parse("passwords", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return users
}

func TestOnlyTheRightPasswordOfTheRightUserIsGood(t *testing.T) {
	users := parse(t, "# sensors\n\n"+quick("anna", "secret")+quick("ben", "other")+quick("böse $7$", "x"))
	for _, c := range []struct {
		user, password string
		want           bool
	}{
		{"anna", "secret", true},
		{"ben", "other", true},
		{"böse $7$", "x", true},
		{"anna", "other", false},
		{"anna", "secret ", false},
		{"anna", "", false},
		{"Anna", "secret", false},
		{"ann", "asecret", false},
		{"", "secret", false},
		{"carl", strings.Repeat("\x00", 64), false},
		{"anna", strings.Repeat("x", MaxPassword+1), false},
	} {
		for range 2 { // the second time, good logins are remembered
			if got := users.Check(t.Context(), c.user, []byte(c.password)); got != c.want {
				t.Errorf("%q, %q: %v", c.user, c.password, got)
			}
		}
	}
}

// The lines were made with Python's hashlib, after mosquitto's source.
func TestLinesOfOthersAreGood(t *testing.T) {
	users := parse(t, foreign)
	for _, user := range []string{"seven", "six"} {
		if !users.Check(t.Context(), user, []byte("correct horse")) {
			t.Errorf("%s: not let in", user)
		}
		if users.Check(t.Context(), user, []byte("correct horsf")) {
			t.Errorf("%s: let in with another password", user)
		}
	}
}

func TestAHashIsThatOfItsPasswordOnly(t *testing.T) {
	hashed := Hash([]byte("correct horse"))
	is, err := ParseHash(hashed)
	if err != nil || !strings.HasPrefix(hashed, "$7$100000$") || hashed == Hash([]byte("correct horse")) {
		t.Fatalf("%s: %v", hashed, err)
	}
	for password, want := range map[string]bool{"correct horse": true, "correct horsf": false, "": false, strings.Repeat("x", MaxPassword+1): false} {
		if is([]byte(password)) != want {
			t.Errorf("%.20q: not %v", password, want)
		}
	}
	for _, wrong := range []string{"", "correct horse", hashed[:len(hashed)-4], "$7$0" + strings.TrimPrefix(hashed, "$7$100000")} {
		if _, err := ParseHash(wrong); err == nil || strings.Contains(err.Error(), "horse") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

func TestWrongLinesAreRefusedWithTheirPlace(t *testing.T) {
	salt, hash := base64.StdEncoding.EncodeToString([]byte("salt")), base64.StdEncoding.EncodeToString(make([]byte, 64))
	for line, want := range map[string]string{
		"anna":                                     "no hash",
		"anna:":                                    "no hash",
		"anna:hunter2":                             "no hash",
		"anna:$argon2id$v=19$m=1,t=1,p=1$xx$yy":    "no hash",
		"anna:$7$101$" + salt:                      "no hash",
		"anna:x$7$101$" + salt + "$" + hash:        "no hash",
		":$7$101$" + salt + "$" + hash:             "name is empty",
		" anna:$7$101$" + salt + "$" + hash:        "is no user name",
		"anna:$7$0$" + salt + "$" + hash:           "rounds",
		"anna:$7$-1$" + salt + "$" + hash:          "rounds",
		"anna:$7$99999999999$" + salt + "$" + hash: "rounds",
		"anna:$7$101$$" + hash:                     "salt",
		"anna:$7$101$!$" + hash:                    "salt",
		"anna:$7$101$" + salt + "$" + salt:         "hash is not",
		"anna:$6$" + salt + "$!":                   "hash is not",
		strings.TrimSpace(quick("ben", "twice")):   "occurs twice",
	} {
		_, err := Parse("passwords", []byte("# first\n"+quick("ben", "b")+line+"\n"))
		if err == nil || !strings.HasPrefix(err.Error(), "passwords:3: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error tells a password: %v", err)
		}
	}
}

// Whoever may try names must not learn from the time which of them exist.
func TestUnknownUserCostsAHash(t *testing.T) {
	users := parse(t, quick("anna", "a"))
	if users.nobody.rounds != 101 {
		t.Errorf("an unknown user costs %d rounds, a known one 101", users.nobody.rounds)
	}
	if parse(t, "").nobody.rounds != Rounds {
		t.Error("without users, an unknown one costs nothing")
	}
}

func TestOnlyGoodLoginsAreRemembered(t *testing.T) {
	users := parse(t, quick("anna", "a"))
	users.Check(t.Context(), "anna", []byte("b"))
	users.Check(t.Context(), "ben", []byte("a"))
	if len(users.good) != 0 {
		t.Error("a bad login is remembered")
	}
	users.Check(t.Context(), "anna", []byte("a"))
	if len(users.good) != 1 {
		t.Error("a good login is not remembered")
	}
	users.entries = nil // no hash can be right now
	if !users.Check(t.Context(), "anna", []byte("a")) {
		t.Error("a good login is hashed again")
	}
	for i := range maxGood + 10 {
		users.remember(users.mac("anna", []byte{byte(i), byte(i >> 8)}))
	}
	if len(users.good) != maxGood {
		t.Errorf("%d logins are remembered, want %d", len(users.good), maxGood)
	}
}

func TestCheckGivesUpWhenItsContextEnds(t *testing.T) {
	users := parse(t, quick("anna", "a"))
	for range cap(users.slots) {
		users.slots <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if users.Check(ctx, "anna", []byte("a")) {
		t.Error("let in without a hash")
	}
}

func TestSetAndDeleteKeepOtherLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwords")
	if err := Set(path, "anna", []byte("a")); err != nil {
		t.Fatal(err)
	}
	before := "# kept\n\n" + quick("ben", "b") + quick("carl", "c")
	if err := os.WriteFile(path, []byte(strings.TrimSuffix(before, "\n")), 0o640); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"ben", "dora"} {
		if err := Set(path, user, []byte("new")); err != nil {
			t.Fatal(err)
		}
	}
	if err := Delete(path, "carl"); err != nil {
		t.Fatal(err)
	}
	users, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || !bytes.HasPrefix(text, []byte("# kept\n\nben:$7$100000$")) || users.Len() != 2 {
		t.Errorf("%v\n%s", err, text)
	}
	if !users.Check(t.Context(), "ben", []byte("new")) || !users.Check(t.Context(), "dora", []byte("new")) {
		t.Error("a new password does not count")
	}
	if err := Delete(path, "carl"); err == nil || !strings.Contains(err.Error(), `no user "carl"`) {
		t.Errorf("%v", err)
	}
}

// Of many who edit the file at once, each finds what the others wrote: one after the other
// they take a user out, and add one.
func TestNobodysChangeIsLostWhenManyEditAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwords")
	var old []byte
	const editors, edits = 8, 20
	for i := range editors {
		old = append(old, quick(fmt.Sprint("old", i), "x")...)
	}
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range editors {
		all.Go(func() {
			if err := Delete(path, fmt.Sprint("old", i)); err != nil {
				t.Error(err)
			}
			for n := range edits {
				user := fmt.Sprint("new", i, "-", n)
				if _, err := edit(path, user, []byte(quick(user, "x"))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := parse(t, string(text)).Len(); got != editors*edits || bytes.Contains(text, []byte("old")) {
		t.Errorf("there are %d users, want the %d that were added", got, editors*edits)
	}
}

func TestThePasswordFileIsForItsOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwords")
	for _, c := range []struct{ before, after os.FileMode }{{0, 0o600}, {0o666, 0o640}, {0o600, 0o600}} {
		if c.before != 0 {
			if err := os.Chmod(path, c.before); err != nil {
				t.Fatal(err)
			}
		}
		if err := Set(path, "anna", []byte("a")); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != c.after {
			t.Errorf("%v: %v, %v", c.before, info.Mode(), err)
		}
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWhatCannotBeWrittenIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "passwords")
	for _, user := range []string{"", "a:b", "a\nb", "#a", " a", "a ", strings.Repeat("a", 300)} {
		if Set(path, user, []byte("a")) == nil {
			t.Errorf("user %q was taken", user)
		}
	}
	if Set(path, "anna", nil) == nil || Set(path, "anna", make([]byte, MaxPassword+1)) == nil {
		t.Error("a password of no length, or of too much, was taken")
	}
	if err := Delete(path, "anna"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if err := os.WriteFile(path, []byte("anna:hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if Set(path, "ben", []byte("b")) == nil {
		t.Error("a file that is wrong was written")
	}
}

// Mosquitto's own program understands what is written here, and the other way
// round.
func TestMosquittoPasswd(t *testing.T) {
	program, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		t.Skip("mosquitto_passwd is not installed")
	}
	path := filepath.Join(t.TempDir(), "passwords")
	if err := Set(path, "anna", []byte("a")); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(program, "-b", path, "ben", "b").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	users, err := Read(path)
	if err != nil {
		t.Fatal(err)
	}
	if !users.Check(t.Context(), "anna", []byte("a")) || !users.Check(t.Context(), "ben", []byte("b")) {
		t.Error("a password does not count any more")
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(foreign))
	f.Add([]byte("# x\r\n" + quick("anna", "a")))
	f.Add([]byte("anna:$7$101$$\nben"))
	f.Fuzz(func(t *testing.T, text []byte) {
		users, err := Parse("passwords", text)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "passwords:") {
				t.Fatalf("%v has no place", err)
			}
			return
		}
		for user, e := range users.entries {
			if e.rounds == 0 {
				continue
			}
			again, err := Parse("again", appendLine(nil, user, e))
			if err != nil || !bytes.Equal(again.entries[user].hash, e.hash) {
				t.Fatalf("%q: %v", user, err)
			}
		}
	})
}

func BenchmarkFirstLogin(b *testing.B) {
	e := entry{rounds: Rounds, salt: make([]byte, 12)}
	for b.Loop() {
		e.digest([]byte("secret"))
	}
}

func BenchmarkNextLogin(b *testing.B) {
	users, err := Parse("passwords", []byte(quick("anna", "a")))
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for b.Loop() {
		if !users.Check(ctx, "anna", []byte("a")) {
			b.Fatal("not let in")
		}
	}
}

const foreign = `seven:$7$101$AAECAwQFBgcICQoL$lp0Cm29zl+CI/RXyXDKvLye7OxM3OuE6RMzgXTX/f3imS/pFh2Ur7yarLDpKRUKpB0tOj6l0UrRv41zqxmD4tg==
six:$6$AAECAwQFBgcICQoL$5W8GCQ9GLgmhmQvoa8jmRaPnsh82mRigdSv6mQsK0sMIII/WznlQb1g+RWddfoAKTMzBJP1deJU+Rp/1QZ0zZg==
`

func TestALineIsMadeOfAPasswordOrItsHash(t *testing.T) {
	hashed := Hash([]byte("correct horse"))
	for given, password := range map[string]string{"battery staple": "battery staple", hashed: "correct horse"} {
		line, err := Line("pump", given)
		if err != nil {
			t.Fatal(err)
		}
		users, err := Parse("p", []byte(line+"\n"))
		if err != nil || !users.Check(t.Context(), "pump", []byte(password)) || users.Check(t.Context(), "pump", []byte("x")) {
			t.Errorf("%s: %v", line, err)
		}
	}
	old := "$6$c2FsdA==$" + strings.Repeat("A", 86) + "=="
	if line, err := Line("pump", old); err != nil || line != "pump:"+old {
		t.Errorf("%q, %v", line, err)
	}
	for user, given := range map[string]string{"a:b": "hunter2hunter", "a": "", "b": "$7$hunter2", "c": "hunter2" + strings.Repeat("x", MaxPassword)} {
		if line, err := Line(user, given); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q, %v", line, err)
		}
		if err := CheckLine(user, given); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", user, err)
		}
	}
}

func TestANewFileIsWhoseTheFolderIs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files to somebody")
	}
	dir := t.TempDir()
	if err := os.Chown(dir, 1234, 4321); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "passwords")
	if err := Set(path, "pump", []byte("correct horse")); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t); owner.Uid != 1234 || owner.Gid != 4321 || info.Mode() != 0o600 {
		t.Errorf("it is %d:%d, %v", owner.Uid, owner.Gid, info.Mode())
	}
}
