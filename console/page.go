package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"

	_ "embed" // for the page
)

var (
	//go:embed page/index.html
	pageHTML []byte
	//go:embed page/style.css
	pageStyle []byte
	//go:embed page/graph.js
	graphScript []byte
	//go:embed page/page.js
	pageScript []byte
	//go:embed page/icon.svg
	icon []byte
)

// page is the one document, with its style and script in it.
type page struct {
	html   []byte
	policy string // Content-Security-Policy
}

// newPage puts the parts together. The policy names the style and the script by their
// hashes: nothing else runs, is loaded, or may frame the page.
func newPage() *page {
	script := bytes.Join([][]byte{graphScript, pageScript}, []byte("\n"))
	html := bytes.Replace(pageHTML, []byte("/*style*/"), pageStyle, 1)
	html = bytes.Replace(html, []byte("/*script*/"), script, 1)
	return &page{html: html, policy: "default-src 'none'; script-src '" + hash(script) + "'; style-src '" + hash(pageStyle) + "'; " +
		"connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"}
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

func (p *page) serve(w http.ResponseWriter) {
	w.Header().Set("Content-Security-Policy", p.policy)
	write(w, "text/html; charset=utf-8", http.StatusOK, p.html)
}
