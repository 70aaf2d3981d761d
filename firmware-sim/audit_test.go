package firmwaresim

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// exportOf writes the rows of devices that published the samples 1 to n each,
// with the five readings of a message, as a cloud would.
func exportOf(devices int, n uint64) []string {
	var rows []string
	for device := range devices {
		for seq := uint64(1); seq <= n; seq++ {
			for _, metric := range []string{"seq", "temp"} {
				rows = append(rows, fmt.Sprintf(
					`{"gateway":"g","epoch":"000000000000001f","lane":"normal","seq":%d,"device":"%s","metric":"%s","unit":"","time":1700000000000000000,"value":%d,"quality":"good"}`,
					len(rows)+1, deviceName("dev-", device), metric, seq))
			}
		}
	}
	return rows
}

// ledgerOf claims the same samples.
func ledgerOf(devices int, n uint64) *Ledger {
	ledger := NewLedger()
	for device := range devices {
		ledger.Account(deviceName("dev-", device)).Acked(1, n)
	}
	return ledger
}

func audit(tb testing.TB, ledger *Ledger, rows []string) Verdict {
	tb.Helper()
	verdict, err := Audit(ledger, strings.NewReader(strings.Join(rows, "\n")+"\n"))
	if err != nil {
		tb.Fatal(err)
	}
	return verdict
}

// renumber gives a row another sequence number.
func renumber(row string, from, to int) string {
	return strings.Replace(row, fmt.Sprintf(`"seq":%d,`, from), fmt.Sprintf(`"seq":%d,`, to), 1)
}

func TestAuditOfAFaithfulCloudFindsNothing(t *testing.T) {
	got := audit(t, ledgerOf(3, 40), exportOf(3, 40))
	if !got.OK() || got.String() != "120 acknowledged, 120 delivered, 0 lost, 0 twice" {
		t.Fatalf("got %v", got)
	}
}

func TestAuditFindsAPlantedLoss(t *testing.T) {
	rows := exportOf(2, 40)
	planted := append(rows[:0:0], rows...)
	planted = append(planted[:80+2*16], planted[80+2*17:]...) // sample 17 of the second device
	got := audit(t, ledgerOf(2, 40), planted)
	if got.OK() || got.Lost != 1 || got.Delivered != 79 || got.FirstLost[0] != (Sample{"dev-0001", 17}) {
		t.Fatalf("got %+v", got)
	}
}

func TestAuditFindsWhatNobodySent(t *testing.T) {
	ledger := NewLedger()
	ledger.Account("dev-0000").Sent(1, 40)
	if got := audit(t, ledger, exportOf(1, 40)); !got.OK() || got.Unclaimed != 40 {
		t.Fatalf("everything was sent: %+v", got)
	}
	got := audit(t, ledger, exportOf(1, 42))
	if got.OK() || got.Invented != 2 || !strings.Contains(got.String(), "2 invented") {
		t.Fatalf("two were not sent: %+v", got)
	}
}

func TestAuditListsOnlyTheFirstTenLost(t *testing.T) {
	got := audit(t, ledgerOf(1, 40), exportOf(1, 7))
	if got.Lost != 33 || len(got.FirstLost) != 10 || got.FirstLost[9] != (Sample{"dev-0000", 17}) {
		t.Fatalf("got %+v", got)
	}
}

func TestAuditFindsAPlantedDuplicate(t *testing.T) {
	rows := exportOf(1, 40)
	temperature := rows[11]
	if got := audit(t, ledgerOf(1, 40), append(rows, temperature)); got.Twice != 1 || got.OK() {
		t.Fatalf("the same key again: %+v", got)
	}
	sample := renumber(rows[10], 11, 1000)
	if got := audit(t, ledgerOf(1, 40), append(rows, sample)); got.Twice != 1 || got.OK() {
		t.Fatalf("the same sample under a new key: %+v", got)
	}
}

func TestAuditAllowsARowForEachPublishAndNoMore(t *testing.T) {
	rows := exportOf(1, 40)
	ledger := ledgerOf(1, 40)
	ledger.Account("dev-0000").Again(6, 6)
	rows = append(rows, renumber(rows[10], 11, 1000))
	got := audit(t, ledger, rows)
	if !got.OK() || got.String() != "40 acknowledged, 40 delivered, 0 lost, 0 twice (1 published again by the devices)" {
		t.Fatalf("two publishes, two rows: %v", got)
	}
	rows = append(rows, renumber(rows[10], 11, 1001))
	if got := audit(t, ledger, rows); got.Twice != 1 {
		t.Fatalf("two publishes, three rows: %v", got)
	}
}

func TestAuditDoesNotMissWhatWasNeverAcknowledged(t *testing.T) {
	got := audit(t, ledgerOf(1, 30), exportOf(2, 40))
	if !got.OK() || got.Delivered != 30 || got.Unclaimed != 50 {
		t.Fatalf("got %+v", got)
	}
}

func TestAuditKeepsSequencesOfGatewaysEpochsAndLanesApart(t *testing.T) {
	rows := exportOf(1, 3)
	for _, swap := range [][2]string{{`"g"`, `"h"`}, {`1f"`, `20"`}, {`"normal"`, `"alarm"`}} {
		rows = append(rows, strings.Replace(rows[1], swap[0], swap[1], 1))
	}
	if got := audit(t, ledgerOf(1, 3), rows); !got.OK() {
		t.Fatalf("got %+v", got)
	}
}

func TestAuditRefusesADamagedExport(t *testing.T) {
	rows := exportOf(1, 3)
	for name, damaged := range map[string]string{
		"cut short":  rows[2][:50],
		"no seq":     `{"gateway":"g","epoch":"1","lane":"normal","device":"d","metric":"seq","value":1}`,
		"no counter": strings.Replace(rows[2], `"value":2`, `"value":"two"`, 1),
	} {
		_, err := Audit(NewLedger(), strings.NewReader(rows[0]+"\n"+damaged))
		if err == nil || !strings.Contains(err.Error(), "row 2") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestRowsOutOfTheOrdinaryAreReadAsWell(t *testing.T) {
	plain := `{"gateway":"g","epoch":"1","lane":"normal","seq":7,"device":"d","metric":"seq","value":17}`
	var want exportRow
	if err := want.parse([]byte(plain)); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		strings.ReplaceAll(plain, ",", " ,\t"),
		strings.Replace(plain, `"d"`, `"\u0064"`, 1),
		strings.Replace(plain, `"seq":7`, `"more":{"a":[1,2]},"seq":7,"nothing":null`, 1),
		strings.Replace(plain, `"seq":7`, `"ünit":"°C","seq":7`, 1),
	} {
		var got exportRow
		if got.parsePlain([]byte(line)) {
			t.Errorf("%s passed for plain", line)
		}
		if err := got.parse([]byte(line)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v", line, got, err)
		}
	}
}

func FuzzPlainRowsMeanWhatEncodingJSONSays(f *testing.F) {
	for _, row := range exportOf(1, 1) {
		f.Add([]byte(row))
	}
	f.Add([]byte(`{"gateway":"g","Seq":1,"seq":2,"value":true,"seq":-3}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		var plain, any exportRow
		if !plain.parsePlain(line) {
			return
		}
		if err := any.parseAny(line); err != nil {
			t.Fatalf("%s passed for plain: %v", line, err)
		}
		if plain.seq != any.seq || plain.hasSeq != any.hasSeq || !bytes.Equal(plain.value, any.value) ||
			!bytes.Equal(plain.gateway, any.gateway) || !bytes.Equal(plain.epoch, any.epoch) || !bytes.Equal(plain.lane, any.lane) ||
			!bytes.Equal(plain.device, any.device) || !bytes.Equal(plain.metric, any.metric) {
			t.Fatalf("%s: plain %+v, encoding/json %+v", line, plain, any)
		}
	})
}

func BenchmarkAudit(b *testing.B) {
	rows := exportOf(50, 2000)
	export := []byte(strings.Join(rows, "\n"))
	ledger := ledgerOf(50, 2000)
	for b.Loop() {
		if verdict, err := Audit(ledger, bytes.NewReader(export)); err != nil || !verdict.OK() {
			b.Fatal(verdict, err)
		}
	}
	b.ReportMetric(float64(len(rows)*b.N)/b.Elapsed().Seconds(), "rows/s")
}
