package hasty_test

import (
	"testing"

	"example.org/hasty"
)

func TestOutside(t *testing.T) {
	if !<-hasty.Do() {
		return
	}
	t.Error("nothing is sent")
}
