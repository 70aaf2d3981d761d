package firmwaresim

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLedgerFileSaysWhatWasEntered(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ledger")
	ledger, err := CreateLedger(name)
	if err != nil {
		t.Fatal(err)
	}
	pump, valve := ledger.Account("pump"), ledger.Account("valve")
	for seq := uint64(1); seq <= 500; seq++ {
		pump.Acked(seq, seq)
	}
	valve.Acked(7, 7)
	valve.Again(3, 3)
	valve.Sent(8, 9)
	if err := ledger.Flush(); err != nil {
		t.Fatal(err)
	}
	flushed, _ := os.ReadFile(name)
	if want := "ack pump 1-500\nack valve 7\nagain valve 3\nsent valve 8-9\n"; string(flushed) != want {
		t.Fatalf("the file says\n%s\nwant\n%s", flushed, want)
	}
	valve.Acked(3, 3)
	if err := ledger.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	read, err := ReadLedger(file)
	if err != nil {
		t.Fatal(err)
	}
	if acked, again := read.Count(); acked != 502 || again != 1 || !read.Account("valve").acked.has(3) || !read.Account("valve").sent.has(9) {
		t.Fatalf("read back %d acknowledged, %d again", acked, again)
	}
}

func TestLedgerIgnoresALineThatACrashCutShort(t *testing.T) {
	ledger, err := ReadLedger(strings.NewReader("ack pump 1-500\nack pump 501-1000"))
	if err != nil {
		t.Fatal(err)
	}
	if acked, _ := ledger.Count(); acked != 500 {
		t.Fatalf("%d acknowledged, want 500", acked)
	}
}

func TestLedgerOfAnEarlierRunIsNotOverwritten(t *testing.T) {
	name := filepath.Join(t.TempDir(), "ledger")
	ledger, err := CreateLedger(name)
	if err != nil {
		t.Fatal(err)
	}
	ledger.Close()
	if _, err := CreateLedger(name); err == nil || !strings.Contains(err.Error(), "name a new file") {
		t.Fatalf("got %v", err)
	}
}

func TestDamagedLedgerIsAnError(t *testing.T) {
	for _, line := range []string{"ack pump", "nack pump 1", "ack pump 5-4", "ack pump x", "ack pump 1-", "again pump 1-9999999999"} {
		if _, err := ReadLedger(strings.NewReader("ack pump 1\n" + line + "\n")); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%q: got %v", line, err)
		}
	}
}

func FuzzReadLedger(f *testing.F) {
	f.Add("ack pump 1-500\nagain pump 3\n")
	f.Fuzz(func(t *testing.T, text string) {
		ledger, err := ReadLedger(strings.NewReader(text))
		if err == nil {
			ledger.Count()
		}
	})
}
