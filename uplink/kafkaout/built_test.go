package kafkaout

import (
	"os/exec"
	"strings"
	"testing"
)

// A program that was built without Kafka has nothing of its protocol in it, and
// this package compiles all the same. What is for tests only is in no program.
func TestWithoutKafkaNothingOfItIsLinked(t *testing.T) {
	tool, err := exec.LookPath("go")
	if err != nil {
		t.Skip("the go command is not here")
	}
	linked := func(tags string) string {
		out, err := exec.CommandContext(t.Context(), tool, "list", "-deps", "-tags", tags, "../../cmd/tidegate").CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	with, without := linked(""), linked("nokafka")
	if !strings.Contains(with, "tidegate/internal/kafka\n") || !strings.Contains(without, "tidegate/uplink/kafkaout\n") {
		t.Error("the program does not know the packages any more")
	}
	if strings.Contains(without, "tidegate/internal/kafka\n") {
		t.Error("the protocol is linked all the same")
	}
	for _, tests := range []string{"franz-go", "pierrec/lz4", "compress/s2"} {
		if strings.Contains(with, tests) {
			t.Errorf("%s is linked, which only tests need", tests)
		}
	}
	if out, err := exec.CommandContext(t.Context(), tool, "vet", "-tags", "nokafka", ".").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
