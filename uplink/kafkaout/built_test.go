package kafkaout

import (
	"os/exec"
	"strings"
	"testing"
)

// A program that was built without Kafka has nothing of the library in it, and
// this package compiles all the same.
func TestWithoutKafkaNothingOfItIsLinked(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go command is not here")
	}
	out, err := exec.CommandContext(t.Context(), tool, "list", "-deps", "-tags", "nokafka", "../../cmd/tidegate").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if !strings.Contains(string(out), "tidegate/uplink/kafkaout") {
		t.Error("the program does not know the package any more")
	}
	if strings.Contains(string(out), "franz-go") {
		t.Error("the library is linked all the same")
	}
	if out, err := exec.CommandContext(t.Context(), tool, "vet", "-tags", "nokafka", ".").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
