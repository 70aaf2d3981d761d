package api

import (
	"io"
	"mime"
	"net/http"
)

// Download answers with a file of that name, which write makes as it is read. A
// file that could not be finished is cut off, so that nobody takes it for whole.
func Download(w http.ResponseWriter, name, contentType string, write func(io.Writer) error) error {
	f := &file{w: w, flow: http.NewResponseController(w), name: name, contentType: contentType}
	err := write(f)
	switch {
	case err == nil && !f.begun:
		f.begin() // an empty file is one, too
	case err != nil && !f.begun:
		Answer(w, nil, err)
	case err != nil:
		return err
	}
	return nil
}

// file is a download that may have begun.
type file struct {
	w                 http.ResponseWriter
	flow              *http.ResponseController
	name, contentType string
	begun             bool
}

func (f *file) begin() {
	f.begun = true
	header := f.w.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": f.name}))
	header.Set("Cache-Control", "no-store")
	f.w.WriteHeader(http.StatusOK)
}

// Write implements io.Writer.
func (f *file) Write(b []byte) (int, error) {
	if !f.begun {
		f.begin()
	}
	postpone(f.flow)
	return f.w.Write(b)
}

// CutOff ends an answer so that its reader sees that something is missing.
func CutOff() { panic(http.ErrAbortHandler) }
