package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io"
	"mime"
	"net/http"
	"path"
	"strings"
)

// packed is the page as browsers get it: "make page" makes it of assets/.
//
//go:embed packed/*
var packed embed.FS

// asset is one file of the page.
type asset struct {
	contentType string
	etag        string
	zipped      []byte
}

// loadAssets returns the files of the page by their path on the server.
func loadAssets() map[string]*asset {
	byPath := make(map[string]*asset)
	entries, err := packed.ReadDir("packed")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	for _, entry := range entries {
		zipped, err := packed.ReadFile("packed/" + entry.Name())
		if err != nil {
			panic(err) // as above
		}
		name := strings.TrimSuffix(entry.Name(), ".gz")
		sum := sha256.Sum256(zipped)
		byPath["/assets/"+name] = &asset{mediaType(name), `W/"` + hex.EncodeToString(sum[:8]) + `"`, zipped}
	}
	byPath["/{$}"] = byPath["/assets/index.html"]
	delete(byPath, "/assets/index.html")
	return byPath
}

// mediaType does not ask the machine's own tables first: a browser refuses a
// module that is served as text/plain.
func mediaType(name string) string {
	switch ext := path.Ext(name); ext {
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	default:
		return mime.TypeByExtension(ext)
	}
}

// ServeHTTP implements http.Handler. The browser asks each time whether the
// file has changed, so an update of the gateway never meets an old page.
func (a *asset) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Cache-Control", "no-cache")
	header.Set("ETag", a.etag)
	header.Set("Vary", "Accept-Encoding")
	if r.Header.Get("If-None-Match") == a.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", a.contentType)
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		header.Set("Content-Encoding", "gzip")
		_, _ = w.Write(a.zipped) // the browser went away: nobody is left to tell
		return
	}
	if plain, err := gzip.NewReader(bytes.NewReader(a.zipped)); err == nil {
		_, _ = io.Copy(w, plain) // as above
	}
}
