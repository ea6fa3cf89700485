package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

type asset struct {
	contentType  string
	cacheControl string
	body         []byte
	etag         string
	// zipped is nil where compression does not pay. A compressed answer is another representation, hence its own entity tag.
	zipped     []byte
	zippedETag string
}

// load reads every file of the built page. Hidden files, such as the placeholder, are not part of it.
func load(files fs.FS) (map[string]asset, error) {
	assets := make(map[string]asset)
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			return err
		}
		body, err := fs.ReadFile(files, name)
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		assets["/"+name] = newAsset(name, body)
		return nil
	})
	return assets, err
}

func newAsset(name string, body []byte) asset {
	sum := sha256.Sum256(body)
	hash := hex.EncodeToString(sum[:16])
	a := asset{
		contentType:  contentType(name),
		cacheControl: cacheControl(name),
		body:         body,
		etag:         `"` + hash + `"`,
	}
	if zipped := compress(body); len(zipped) < len(body)*9/10 {
		a.zipped, a.zippedETag = zipped, `"`+hash+`-gzip"`
	}
	return a
}

// contentType does not ask the operating system's table, which differs from machine to machine and would make scripts unrunnable under nosniff.
func contentType(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	case ".png":
		return "image/png"
	case ".woff2":
		return "font/woff2"
	case ".json":
		return "application/json"
	default:
		return "application/octet-stream"
	}
}

// cacheControl lets what Vite named by its content stay forever; all else is asked for again and answered with 304 while unchanged.
func cacheControl(name string) string {
	if strings.HasPrefix(name, "assets/") {
		return "public, max-age=31536000, immutable"
	}
	return "no-cache"
}

func compress(body []byte) []byte {
	var buf bytes.Buffer
	// Neither the level nor a buffer in memory can fail.
	w, _ := gzip.NewWriterLevel(&buf, gzip.BestCompression)
	_, _ = w.Write(body)
	_ = w.Close()
	return buf.Bytes()
}

// acceptsGzip reads an Accept-Encoding header (RFC 9110, 12.5.3): a coding with q=0 is refused, a star stands for those not named.
func acceptsGzip(header string) bool {
	star := false
	for _, item := range strings.Split(header, ",") {
		coding, params, _ := strings.Cut(item, ";")
		accepted := quality(params) > 0
		switch strings.ToLower(strings.TrimSpace(coding)) {
		case "gzip", "x-gzip":
			return accepted
		case "*":
			star = accepted
		}
	}
	return star
}

func quality(params string) float64 {
	value, found := strings.CutPrefix(strings.ReplaceAll(strings.ToLower(params), " ", ""), "q=")
	if !found {
		return 1
	}
	q, err := strconv.ParseFloat(value, 64)
	if err != nil {
		return 0
	}
	return q
}

// matches compares an If-None-Match header weakly with an entity tag (RFC 9110, 13.1.2).
func matches(header, etag string) bool {
	for _, item := range strings.Split(header, ",") {
		item = strings.TrimSpace(item)
		if item == "*" || strings.TrimPrefix(item, "W/") == etag {
			return true
		}
	}
	return false
}
