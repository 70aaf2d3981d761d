// Package idle is a library.
package idle

// Do does nothing, and says so.
func Do() bool {
	return true
}
