package httpout

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/tidegate/tidegate/internal/conf"
	"github.com/tidegate/tidegate/internal/fresh"
	"github.com/tidegate/tidegate/uplink"
)

// Auth says who is sending: with a token, with a name and a password, with a
// token that is asked for, or (the zero value) nobody. Files are read again when
// they change.
type Auth struct {
	// TokenFile holds a token. It is sent as "Authorization: Bearer token";
	// TokenHeader and TokenScheme replace the first two words where the other
	// side wants others ("Token" for InfluxDB 2, "X-Api-Key" and NoScheme).
	TokenFile, TokenHeader, TokenScheme string
	// Username and PasswordFile are for Basic.
	Username, PasswordFile string
	// OAuth asks for tokens.
	OAuth OAuth
	// Unread is told when a file has changed and cannot be read; what it held
	// before stays in use. Nil tells nobody.
	Unread func(error)
}

// NoScheme is the TokenScheme of a header that holds the token alone.
const NoScheme = "none"

// credential is a header that says who is sending. Nobody prints it.
type credential struct{ name, value string }

// authorizer supplies credentials.
type authorizer interface {
	// header returns the header of the next request; one without a name says
	// nothing.
	header(ctx context.Context) (credential, error)
	// refused takes note of a credential that the other side has refused, and
	// says whether there will be another one at once.
	refused(ctx context.Context, c credential) bool
	close()
}

// open returns the authorizer.
func (a Auth) open(dial uplink.Dial, secure *tls.Config) (authorizer, error) {
	ways := 0
	for _, used := range []bool{a.TokenFile != "", a.Username != "" || a.PasswordFile != "", a.OAuth.TokenURL != ""} {
		if used {
			ways++
		}
	}
	switch {
	case ways > 1:
		return nil, errors.New("http uplink: token, password and OAuth exclude each other — hint: keep one of them")
	case a.TokenFile != "":
		name, scheme := cmp.Or(a.TokenHeader, "Authorization"), cmp.Or(a.TokenScheme, "Bearer")+" "
		if scheme == NoScheme+" " {
			scheme = ""
		}
		if !isToken(name) || strings.ContainsFunc(scheme, isControl) {
			return nil, fmt.Errorf("http uplink: the token cannot be sent as %q: %q — hint: leave both out for a bearer token", name, scheme)
		}
		return a.openFile(a.TokenFile, func(secret string) credential { return credential{name, scheme + secret} })
	case a.Username != "" && a.PasswordFile != "":
		if strings.Contains(a.Username, ":") {
			return nil, errors.New("http uplink: a user name with a colon cannot be sent — hint: choose another user")
		}
		return a.openFile(a.PasswordFile, func(secret string) credential {
			return credential{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte(a.Username+":"+secret))}
		})
	case a.Username != "" || a.PasswordFile != "":
		return nil, errors.New("http uplink: a user name without a password, or the other way round — hint: set username and password_file")
	case a.OAuth.TokenURL != "":
		return newTokens(a.OAuth, a.Unread, dial, secure)
	}
	return nobody{}, nil
}

// nobody says nothing.
type nobody struct{}

func (nobody) header(context.Context) (credential, error) { return credential{}, nil }
func (nobody) refused(context.Context, credential) bool   { return false }
func (nobody) close()                                     {}

// fromFile makes a credential of the content of a file.
type fromFile struct{ value *fresh.Value[credential] }

func (a Auth) openFile(path string, make func(secret string) credential) (authorizer, error) {
	value, err := openSecret(path, a.Unread, make)
	if err != nil {
		return nil, err
	}
	return fromFile{value}, nil
}

// openSecret reads a secret, and again when its file changes.
func openSecret[T any](path string, unread func(error), make func(secret string) T) (*fresh.Value[T], error) {
	load := func() (T, error) {
		secret, err := conf.ReadSecret(path)
		if err != nil {
			var none T
			return none, err
		}
		return make(secret.Reveal()), nil
	}
	if unread == nil {
		unread = func(error) {}
	}
	value, err := fresh.Open(load, unread, path)
	if err != nil {
		return nil, fmt.Errorf("http uplink: %w — hint: the secret stands alone in a file that the gateway's user can read", err)
	}
	return value, nil
}

func (f fromFile) header(context.Context) (credential, error) { return f.value.Get(), nil }

// refused looks whether the file has changed since.
func (f fromFile) refused(_ context.Context, c credential) bool { return f.value.Get() != c }

func (fromFile) close() {}
