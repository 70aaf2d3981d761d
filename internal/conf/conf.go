// Package conf reads TOML configuration: strictly, and with all problems of a
// file in one answer.
//
// Decode fills a struct of tagged fields. Every key of the file must name a
// field exactly, letter case included; every value must fit its field; and
// every problem says where it is, what it is and what to write instead:
//
//	tidegate.toml:7:11: buffer.max_bytes: "512" has no unit; write "512MiB"
//
// The leaf types are Duration ("30s", "7d"), Size ("512MiB") and Secret. One
// rule holds for all quantities: a number without its unit is refused, because
// nobody can tell whether 5 means seconds or milliseconds.
//
// Struct fields are booleans, strings, integers, floats (float64; a whole number
// will do in the file, nan and inf will not), slices of these, types with
// UnmarshalText, structs (tables) and slices of structs (arrays of tables). The
// fields of an embedded struct are keys of the table that it is in. A map of strings
// takes whatever keys there are. A pointer is optional: absent, or "" in the file,
// leaves it nil. A table type whose pointer has SetDefaults gets them before each
// [[element]] is filled; everything else keeps what it held before Decode.
//
// Pieces takes a text apart, for who has to change one and leave the rest as it is.
package conf

import "fmt"

// ValueError says why a text is not a value of its type, and what to write
// instead.
type ValueError struct {
	// What is wrong, for example `"5" has no unit`.
	What string
	// Hint is what to do, for example `write "5s"`.
	Hint string
}

// Error returns the fault and the hint.
func (e *ValueError) Error() string { return e.What + " — hint: " + e.Hint }

func valueError(hint, what string, args ...any) *ValueError {
	return &ValueError{What: fmt.Sprintf(what, args...), Hint: hint}
}
