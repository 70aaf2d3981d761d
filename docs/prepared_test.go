package docs_test

// prepared says, by page, what its commands find when they are run.
var prepared = map[string]preparation{
	"docs/connect/http.md": {
		files:  map[string]string{"/etc/tidegate/tokens": "pump-7 2b7e151628aed2a6abf7158809cf4f3c\n"},
		env:    []string{"TOKEN=2b7e151628aed2a6abf7158809cf4f3c"},
		stored: []string{"kitchen/stove temp 21.5", "kitchen/stove hum 40"},
	},
}

// elsewhere says of blocks that are neither run nor parsed what holds them, or why
// nothing can: "page: how its first line begins".
var elsewhere = map[string]string{}
