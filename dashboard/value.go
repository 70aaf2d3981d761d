package dashboard

import "github.com/tidegate/tidegate/reading"

// ValueOf is the value of a reading as JSON can say it to a browser without loss:
// a number, a boolean or text.
func ValueOf(v reading.Value) any { return jsonValue(v) }

// QualityOf names the quality of a reading; "" for a good one.
func QualityOf(f reading.Flags) string {
	switch f.Quality() {
	case 0:
		return ""
	case reading.Uncertain:
		return "uncertain"
	}
	return "bad"
}
