package login

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"
)

const (
	operatorFile = "operator.json"
	// setAside follows the name of a file that was damaged. As long as it is
	// there and no operator is, this is no new gateway.
	setAside = ".damaged"
	// fileVersion is that of operator.json and tokens.json.
	fileVersion = 1
)

// operator is operator.json.
type operator struct {
	Version  int    `json:"version"`
	Password string `json:"password"` // hashed
	// Changed is when the password was set, by a clock that may have been wrong.
	Changed time.Time `json:"changed"`

	is func(password []byte) bool
}

// errDamaged is for a file that was read, and makes no sense.
var errDamaged = errors.New("is damaged")

// parseHash makes of the hash of a password what compares.
type parseHash = func(hashed string) (is func(password []byte) bool, err error)

// readOperator reads the file at path; nil means that there never was one.
func readOperator(path string, parse parseHash) (*operator, error) {
	o := &operator{}
	err := load(path, o)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if _, err := os.Stat(path + setAside); err == nil {
			return nil, errors.New("was damaged, and set aside before")
		}
		return nil, nil
	case errors.As(err, new(*fs.PathError)), errors.Is(err, errLater):
		return nil, err
	case err == nil && o.Version != fileVersion:
		err = fmt.Errorf("version %d", o.Version)
	case err == nil:
		o.is, err = parse(o.Password)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	return o, nil
}

// Kept returns the name, in the folder of a gate, and the text of the file that makes
// somebody the operator whose password has this hash: for a gateway that does not run.
func Kept(hashed string, now time.Time) (name string, text []byte, err error) {
	text, err = json.Marshal(&operator{Version: fileVersion, Password: hashed, Changed: now.UTC().Truncate(time.Second)})
	return operatorFile, append(text, '\n'), err
}

// Fit says what is wrong with a password that is to be the operator's of a gateway of
// that name. Its error does not show it.
func Fit(gateway, password string) error {
	return (&Gate{config: Config{Gateway: gateway}}).fit(password)
}

// Peek says whether the gateway whose folder it is has an operator, without
// changing anything; or why that cannot be said. parse is as in [Config].
func Peek(dir string, parse func(hashed string) (func(password []byte) bool, error)) (operated bool, err error) {
	o, err := readOperator(filepath.Join(dir, operatorFile), parse)
	if err != nil {
		return false, fmt.Errorf("%s: %w", operatorFile, err)
	}
	return o != nil, nil
}

// loadOperator reads who operates the gateway. A file that is damaged is set
// aside, and must not look like that of a new gateway after the next start.
func (g *Gate) loadOperator(log *slog.Logger) {
	path := g.path(operatorFile)
	var err error
	if g.operator, err = readOperator(path, g.config.Parse); err == nil {
		return
	}
	if errors.Is(err, errDamaged) {
		err = errors.Join(err, os.Rename(path, path+setAside))
	}
	if errors.Is(err, errLater) {
		g.spoiled = fmt.Errorf("%s %w: it is kept for that — hint: install that version again, or set a password with \"tidegate operator passwd\" on the gateway itself", operatorFile, err)
		log.Error("nobody can sign in", "err", g.spoiled)
		return
	}
	g.spoiled = fmt.Errorf("%s: %w — hint: set a password with \"tidegate operator passwd\" on the gateway itself", operatorFile, err)
	log.Error("nobody can sign in", "err", g.spoiled)
}

// setOperator makes hashed the operator's password, and ends what the one before
// has allowed. The caller holds g.mu.
func (g *Gate) setOperator(hashed string) error {
	o := &operator{Version: fileVersion, Password: hashed, Changed: g.config.Now().UTC().Truncate(time.Second)}
	var err error
	if o.is, err = g.config.Parse(hashed); err != nil {
		return fmt.Errorf("hash of the password: %w", err)
	}
	path := g.path(operatorFile)
	if err := save(path, o); err != nil {
		return err
	}
	// What is left of these two after a power cut is erased at the next start,
	// or means nothing beside an operator.
	_, _ = erase(g.path(codeFile)), erase(path+setAside)
	g.operator, g.spoiled, g.code = o, nil, code{}
	g.endAll()
	return nil
}

// mayBegin says why nobody can become the operator from there. The caller holds
// g.mu.
func (g *Gate) mayBegin(from From) error {
	switch {
	case g.operator != nil:
		return say(nil, "the gateway has an operator already — hint: sign in; who has lost the password runs \"tidegate operator passwd\" on the gateway")
	case g.spoiled != nil && !from.Local:
		return say(ErrNotFromHere, "the operator's file is damaged, so only the gateway itself can set this up again — hint: run \"tidegate operator passwd\" there")
	case !from.near():
		return say(ErrNotFromHere, "this can be set up from a network beside the gateway only, and not through a proxy — hint: use a private address, or \"tidegate operator passwd\" on the gateway")
	case g.config.Now().After(g.code.until):
		return say(ErrNotFromHere, "the time for setting this up is over — hint: restart the gateway, or run \"tidegate setup-code\" on it, for another %d minutes", int(codeTime.Minutes()))
	}
	return nil
}

// SetUp makes whoever shows the code the operator, with a password, and returns
// the secret of a session.
func (g *Gate) SetUp(ctx context.Context, from From, code, password string) (secret string, err error) {
	if err := g.beginSetUp(from, code); err != nil {
		return "", err
	}
	if err := g.fit(password); err != nil {
		return "", err
	}
	hashed, err := g.hash(ctx, password)
	if err != nil {
		return "", err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.mayBegin(from); err != nil { // somebody else was quicker
		return "", err
	}
	if !g.code.is(code) { // and the machine has forgotten him again
		return "", errOtherCode
	}
	if err := g.setOperator(hashed); err != nil {
		return "", err
	}
	g.delays.know(g.config.Now(), from)
	g.events.note(SetUp, from)
	return g.newSession(), nil
}

// beginSetUp says whether there is to be an operator who knows the code.
func (g *Gate) beginSetUp(from From, shown string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.mayBegin(from); err != nil {
		return err
	}
	if err := g.begin(from, false); err != nil {
		return err
	}
	if !g.code.is(shown) {
		g.events.note(WrongCode, from)
		return errOtherCode
	}
	g.delays.forgive(from)
	return nil
}

var errOtherCode = sentence{"this is not the set-up code — hint: \"tidegate setup-code\" on the gateway prints it, and so does its journal", ErrWrong}

// SignIn returns the secret of a new session for who knows the password. A failure
// is of [ErrWrong] or a [Delay].
func (g *Gate) SignIn(ctx context.Context, from From, password string) (secret string, err error) {
	o, err := g.compare(ctx, from, password)
	if err != nil {
		return "", err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.operator != o { // as in compare
		return "", errWrong
	}
	g.events.note(SignedIn, from)
	return g.newSession(), nil
}

var errWrong = sentence{"this is not the password — hint: \"tidegate operator passwd\" on the gateway sets another", ErrWrong}

// compare returns the operator whose password it is.
func (g *Gate) compare(ctx context.Context, from From, password string) (*operator, error) {
	g.mu.Lock()
	o := g.operator
	var err error
	switch {
	case o == nil && g.spoiled != nil:
		err = g.spoiled
	case o == nil:
		err = say(nil, "the gateway has no operator yet — hint: set it up with its set-up code")
	default:
		// Counted before it is compared, so that a hundred guesses at once are
		// a hundred guesses.
		err = g.begin(from, true)
	}
	g.mu.Unlock()
	if err != nil {
		return nil, err
	}
	is := false
	if err := g.slot(ctx, func() { is = o.is([]byte(password)) }); err != nil {
		return nil, err
	}
	if !is {
		g.events.note(WrongPassword, from)
		return nil, errWrong
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.operator != o { // the password has just been changed, maybe because others know it
		return nil, errWrong
	}
	g.delays.forgive(from)
	g.delays.know(g.config.Now(), from)
	return o, nil
}

// begin counts a guess, or says how long nobody may guess. account means that it
// is one at the operator's password. The caller holds g.mu.
func (g *Gate) begin(from From, account bool) error {
	if wait := g.delays.begin(g.config.Now(), from, account); wait > 0 {
		g.events.note(Delayed, from)
		return &Delay{wait}
	}
	return nil
}

// ChangePassword ends all sessions, and returns the secret of a new one.
func (g *Gate) ChangePassword(ctx context.Context, from From, old, password string) (secret string, err error) {
	o, err := g.compare(ctx, from, old)
	if err != nil {
		return "", err
	}
	o, err = g.replace(ctx, from, o, password)
	if err != nil {
		return "", err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.operator != o { // it has been changed once more
		return "", errWrong
	}
	return g.newSession(), nil
}

// SetPassword makes an operator of whoever has access to the machine itself.
func (g *Gate) SetPassword(ctx context.Context, password string) error {
	g.mu.Lock()
	o := g.operator
	g.mu.Unlock()
	_, err := g.replace(ctx, From{Local: true}, o, password)
	return err
}

// replace puts an operator with another password in the place of o.
func (g *Gate) replace(ctx context.Context, from From, o *operator, password string) (*operator, error) {
	if err := g.fit(password); err != nil {
		return nil, err
	}
	hashed, err := g.hash(ctx, password)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.operator != o {
		return nil, say(nil, "somebody else has changed the password meanwhile — hint: sign in again")
	}
	if err := g.setOperator(hashed); err != nil {
		return nil, err
	}
	g.delays.forgiveAll()
	g.events.note(PasswordChanged, from)
	return g.operator, nil
}

// Reset forgets the operator and ends all sessions, as on a new gateway. Tokens
// stay.
func (g *Gate) Reset() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	path := g.path(operatorFile)
	if errors.Is(load(path, &struct{}{}), errLater) {
		if err := keepLater(path); err != nil {
			return err
		}
	}
	if err := errors.Join(erase(path+setAside), erase(path)); err != nil {
		return err
	}
	g.operator, g.spoiled = nil, nil
	g.endAll()
	g.delays.forgiveAll()
	g.events.note(OperatorReset, From{Local: true})
	return nil
}

func (g *Gate) hash(ctx context.Context, password string) (hashed string, err error) {
	err = g.slot(ctx, func() { hashed = g.config.Hash([]byte(password)) })
	return hashed, err
}

// slot calls f when no other password is being hashed.
func (g *Gate) slot(ctx context.Context, f func()) error {
	select {
	case g.hashing <- struct{}{}:
		defer func() { <-g.hashing }()
		f()
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
