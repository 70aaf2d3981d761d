package dashboard

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"mime"
	"net/http"
	"path"
	"strings"
)

//go:embed assets
var assets embed.FS

// asset is one file of the page, compressed once.
type asset struct {
	contentType   string
	etag          string
	plain, zipped []byte
}

// loadAssets returns the files of the page by their path on the server.
func loadAssets() map[string]*asset {
	byPath := make(map[string]*asset)
	entries, err := assets.ReadDir("assets")
	if err != nil {
		panic(err) // the folder is part of the program
	}
	for _, entry := range entries {
		name := "assets/" + entry.Name()
		content, err := assets.ReadFile(name)
		if err != nil {
			panic(err) // as above
		}
		byPath["/"+name] = newAsset(name, content)
	}
	byPath["/{$}"] = byPath["/assets/index.html"]
	delete(byPath, "/assets/index.html")
	return byPath
}

func newAsset(name string, content []byte) *asset {
	var zipped bytes.Buffer
	zw, _ := gzip.NewWriterLevel(&zipped, gzip.BestCompression) // the level is valid
	_, _ = zw.Write(content)                                    // a bytes.Buffer takes everything
	_ = zw.Close()
	sum := sha256.Sum256(content)
	return &asset{
		contentType: mediaType(name),
		etag:        `W/"` + hex.EncodeToString(sum[:8]) + `"`,
		plain:       content,
		zipped:      zipped.Bytes(),
	}
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
	body := a.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		header.Set("Content-Encoding", "gzip")
		body = a.zipped
	}
	_, _ = w.Write(body) // the browser went away: nobody is left to tell
}
