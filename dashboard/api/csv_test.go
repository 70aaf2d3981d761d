package api

import (
	"testing"

	"github.com/tidegate/tidegate/reading"
)

// A device chooses its name and its texts; the spreadsheet that opens them is somebody
// else's.
func TestTextsInTablesAreNoFormulas(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "boiler-3": "boiler-3", "°C": "°C", "a=b": "a=b",
		"=cmd|'/C calc'!A0": "'=cmd|'/C calc'!A0", "+1": "'+1", "-x": "'-x", "@SUM(A1)": "'@SUM(A1)", "\t=1": "'\t=1", "\r=1": "'\r=1", "\n=1": "'\n=1",
		"'=1": "''=1",
	} {
		if got := CSVText(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	if text, kind := CSVValue(reading.String("=1+1")); text != "'=1+1" || kind != "string" {
		t.Errorf("%s %s", kind, text)
	}
	if text, _ := CSVValue(reading.Float(-3.5)); text != "-3.5" {
		t.Errorf("a number becomes %s", text)
	}
}
