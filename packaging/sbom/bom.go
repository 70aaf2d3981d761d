package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path"
	"runtime/debug"
	"slices"
	"strings"
)

// bom is the document, in the order and with the names of CycloneDX 1.6.
type bom struct {
	Schema       string       `json:"$schema"`
	Format       string       `json:"bomFormat"`
	Spec         string       `json:"specVersion"`
	Serial       string       `json:"serialNumber"`
	Version      int          `json:"version"`
	Metadata     metadata     `json:"metadata"`
	Components   []component  `json:"components"`
	Dependencies []dependency `json:"dependencies"`
}

type metadata struct {
	Timestamp string    `json:"timestamp,omitempty"`
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version,omitempty"`
	Scope      string     `json:"scope,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	Licenses   []any      `json:"licenses,omitempty"` // license or expression
	PURL       string     `json:"purl,omitempty"`
	Pedigree   *pedigree  `json:"pedigree,omitempty"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type license struct {
	License struct {
		ID string `json:"id"`
	} `json:"license"`
}

type expression struct {
	Expression string `json:"expression"`
}

type pedigree struct {
	Notes string `json:"notes"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type dependency struct {
	Ref  string   `json:"ref"`
	Uses []string `json:"dependsOn,omitempty"`
}

// read makes the bill of a program.
func read(program, version, epoch string) (bom, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return bom{}, err
	}
	content, err := os.ReadFile(program)
	if err != nil {
		return bom{}, err
	}
	sum := sha256.Sum256(content)
	when, err := stamp(epoch)
	if err != nil {
		return bom{}, err
	}
	b := bom{
		Schema: "http://cyclonedx.org/schema/bom-1.6.schema.json", Format: "CycloneDX", Spec: "1.6", Version: 1,
		Metadata: metadata{Timestamp: when, Component: ofProgram(info, cmp.Or(version, info.Main.Version), sum[:])},
	}
	if b.Components, err = parts(info); err != nil {
		return bom{}, err
	}
	b.Dependencies = []dependency{{Ref: b.Metadata.Component.Ref}}
	for _, c := range b.Components {
		b.Dependencies[0].Uses = append(b.Dependencies[0].Uses, c.Ref)
		b.Dependencies = append(b.Dependencies, dependency{Ref: c.Ref})
	}
	b.Serial, err = serial(b)
	return b, err
}

// ofProgram describes the program itself. Its hash is that of the file.
func ofProgram(info *debug.BuildInfo, version string, sum []byte) component {
	c := component{
		Type: "application", Name: path.Base(info.Path), Version: version,
		Hashes:   []hash{{"SHA-256", hex.EncodeToString(sum)}},
		Licenses: licences("Apache-2.0"),
		PURL:     purl("golang", info.Main.Path, version) + "#cmd/" + path.Base(info.Path),
	}
	c.Ref = c.PURL
	for _, s := range info.Settings {
		if slices.Contains([]string{"GOOS", "GOARCH", "GOARM", "CGO_ENABLED", "-tags"}, s.Key) {
			c.Properties = append(c.Properties, property{"tidegate:build:" + s.Key, s.Value})
		}
	}
	return c
}

// parts returns what a program is made of: modules, in the order of their names, the
// standard library, and what else is on board.
func parts(info *debug.BuildInfo) ([]component, error) {
	known := modules()
	var all []component
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		licence, ok := known[m.Path]
		if !ok {
			return nil, fmt.Errorf("%s: its licence is not known — hint: add it to packaging/sbom and packaging/debian/copyright", m.Path)
		}
		c := library(purl("golang", m.Path, m.Version), m.Path, m.Version, licence)
		if sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(m.Sum, "h1:")); err == nil && len(sum) == sha256.Size {
			// Of the list of the module's files and their hashes, as in go.sum.
			c.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum)}}
		}
		all = append(all, c)
	}
	version := strings.TrimPrefix(info.GoVersion, "go")
	version, _, _ = strings.Cut(version, " ")
	all = append(all, library(purl("golang", "std", version), "std", version, known["std"]))
	if path.Base(info.Path) == "tidegate" {
		c := library(purl("npm", "uplot", uplot), "uplot", uplot, "MIT")
		c.Pedigree = &pedigree{"Without what the page does not use: dashboard/assets/uplot/cuts.diff."}
		all = append(all, c)
	}
	return all, nil
}

func library(purl, name, version, licence string) component {
	return component{Type: "library", Ref: purl, Name: name, Version: version, Scope: "required", Licenses: licences(licence), PURL: purl}
}

// licences returns an SPDX identifier, or an expression of several.
func licences(spdx string) []any {
	if strings.Contains(spdx, " ") {
		return []any{expression{spdx}}
	}
	var l license
	l.License.ID = spdx
	return []any{l}
}

// purl names a package as github.com/package-url/purl-spec says.
func purl(kind, name, version string) string {
	if kind == "golang" {
		name = strings.ToLower(name)
	}
	return "pkg:" + kind + "/" + name + "@" + strings.NewReplacer("+", "%2B", "(", "%28", ")", "%29").Replace(version)
}

// serial returns a UUID (version 8: made as its maker likes) of what the bill says.
func serial(b bom) (string, error) {
	text, err := json.Marshal(b)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	u := sum[:16]
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:]), nil
}
