package passwd

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/binary"
	"runtime"
	"sync"
)

// maxGood bounds how many good logins are remembered, in some 100 bytes each.
const maxGood = 16384

// Users is what a password file said when it was read. It is safe for use by
// many goroutines. When the file changes, another Users takes its place, and
// what this one remembers goes with it.
type Users struct {
	entries map[string]entry
	nobody  entry // what an unknown user's password is compared with

	// A reconnecting fleet must not cost a hash a device: logins that were good
	// once are known by their HMAC, under a key that exists only here. Bad ones
	// are not remembered, so whoever guesses fills nothing.
	key  []byte
	mu   sync.Mutex
	good map[[sha256.Size]byte]bool

	// slots are how many passwords are hashed at once: one processor is left
	// for those who are in already, where there is more than one.
	slots chan struct{}
}

func newUsers(entries map[string]entry) *Users {
	u := &Users{
		entries: entries,
		nobody:  entry{rounds: Rounds, salt: make([]byte, 12), hash: make([]byte, hashSize)},
		key:     make([]byte, sha256.Size),
		good:    make(map[[sha256.Size]byte]bool),
		slots:   make(chan struct{}, max(1, runtime.GOMAXPROCS(0)-1)),
	}
	rand.Read(u.key) // never fails
	rounds := 0
	for _, e := range entries {
		rounds = max(rounds, e.rounds)
	}
	if len(entries) > 0 {
		u.nobody.rounds = rounds
	}
	return u
}

// Len returns how many users there are.
func (u *Users) Len() int { return len(u.entries) }

// Check says whether the password is the user's. The first time it costs a hash,
// for which it may have to wait; it returns false when ctx ends meanwhile. A
// user who does not exist takes as long as the one whose password was hashed
// most. An empty password is nobody's.
func (u *Users) Check(ctx context.Context, user string, password []byte) bool {
	if len(password) == 0 || len(password) > MaxPassword {
		return false
	}
	login := u.mac(user, password)
	if u.isGood(login) {
		return true
	}
	select {
	case u.slots <- struct{}{}:
		defer func() { <-u.slots }()
	case <-ctx.Done():
		return false
	}
	e, known := u.entries[user]
	if !known {
		e = u.nobody
	}
	if !e.is(password) || !known {
		return false
	}
	u.remember(login)
	return true
}

// ParseHash returns what says whether a password is the one that was hashed, in
// the time of a hash.
func ParseHash(hashed string) (is func(password []byte) bool, err error) {
	e, err := parseHash(hashed)
	if err != nil {
		return nil, err
	}
	return func(password []byte) bool { return len(password) <= MaxPassword && e.is(password) }, nil
}

func (e entry) is(password []byte) bool {
	return subtle.ConstantTimeCompare(e.digest(password), e.hash) == 1
}

// digest hashes a password as the entry's was.
func (e entry) digest(password []byte) []byte {
	if e.rounds == 0 {
		sum := sha512.Sum512(append(append([]byte(nil), password...), e.salt...))
		return sum[:]
	}
	hash, err := pbkdf2.Key(sha512.New, string(password), e.salt, e.rounds, hashSize)
	if err != nil {
		return nil // no such password compares equal
	}
	return hash
}

func (u *Users) mac(user string, password []byte) (sum [sha256.Size]byte) {
	h := hmac.New(sha256.New, u.key)
	h.Write(binary.AppendUvarint(nil, uint64(len(user)))) // so that "ab","c" is not "a","bc"
	h.Write([]byte(user))
	h.Write(password)
	h.Sum(sum[:0])
	return sum
}

func (u *Users) isGood(login [sha256.Size]byte) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.good[login]
}

func (u *Users) remember(login [sha256.Size]byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.good) >= maxGood {
		for some := range u.good { // any will do: it costs its owner one hash
			delete(u.good, some)
			break
		}
	}
	u.good[login] = true
}
