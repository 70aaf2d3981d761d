package login

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidegate/tidegate/internal/base/whole"
)

const laterOperator = `{"version":2,"password":{"argon":"quick"},"second":"factor"}`

// An operator's file of a later version lets nobody in, stays as it is, and makes room
// only for a password that the machine itself sets.
func TestAnOperatorOfALaterVersionIsKept(t *testing.T) {
	b := operated(t)
	b.write(operatorFile, laterOperator)
	for range 2 {
		b.restart()
		if _, err := b.SignIn(t.Context(), phone, good); err == nil || !strings.Contains(err.Error(), "is of a later version of the program") {
			t.Errorf("sign-in: %v", err)
		}
		if _, err := b.SetUp(t.Context(), phone, b.PrintedCode(), good); !errors.Is(err, ErrNotFromHere) {
			t.Errorf("set-up from the network: %v", err)
		}
		if b.file(operatorFile) != laterOperator {
			t.Fatal("the file has changed")
		}
	}
	if err := b.SetPassword(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	b.restart()
	if _, err := b.SignIn(t.Context(), phone, good); err != nil {
		t.Error(err)
	}
	if b.file(operatorFile+whole.Later+"1") != laterOperator {
		t.Error("the later version's file is gone")
	}
	b.write(operatorFile, laterOperator)
	b.restart()
	if err := b.Reset(); err != nil {
		t.Fatal(err)
	}
	if b.file(operatorFile+whole.Later+"2") != laterOperator || b.file(operatorFile) != "" {
		t.Error("a reset does not keep the later version's file")
	}
}

// Tokens of a later version are not valid, and not forgotten.
func TestTokensOfALaterVersionAreKept(t *testing.T) {
	const later = `{"version":2,"tokens":{"a":"b"}}`
	b := operated(t)
	b.write(tokensFile, later)
	b.restart()
	if len(b.Tokens()) != 0 || b.file(tokensFile) != later || !strings.Contains(b.log.String(), "their file is kept for the version that wrote it") {
		t.Errorf("%v, the file holds %s", b.Tokens(), b.file(tokensFile))
	}
	if _, err := b.AddToken(phone, "now", Look); err != nil {
		t.Fatal(err)
	}
	if b.file(tokensFile+whole.Later+"1") != later {
		t.Error("the later version's file is gone")
	}
	b.restart()
	if len(b.Tokens()) != 1 {
		t.Errorf("%v", b.Tokens())
	}
}
