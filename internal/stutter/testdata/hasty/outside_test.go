package hasty_test

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"example.org/hasty"
)

func TestOutside(t *testing.T) {
	if !<-hasty.Do() {
		return
	}
	t.Error("nothing is sent")
}

// TestLeaving leaves a process behind, and says which.
func TestLeaving(t *testing.T) {
	cmd := exec.Command("sleep", "600")
	err := cmd.Start()
	if err == nil {
		err = os.WriteFile(os.Getenv("LEFT"), strconv.AppendInt(nil, int64(cmd.Process.Pid), 10), 0o600)
	}
	if err != nil {
		t.Error(err)
	}
}
