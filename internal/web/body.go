package web

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// ReadBody reads a body of at most limit bytes, before and after decompression (gzip or zstd). Before it takes memory it asks grow for so
// many bytes in all. The error is a Problem; so should grow's be.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64, grow func(int64) error) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	var src io.Reader = http.MaxBytesReader(w, r.Body, limit)
	switch enc := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(src)
		if err != nil {
			return nil, bodyProblem(err, limit)
		}
		src = z
	case "zstd":
		z, err := zstd.NewReader(src, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderMaxMemory(uint64(limit)+1<<20)) //nolint:gosec // limit is positive
		if err != nil {
			return nil, bodyProblem(err, limit)
		}
		defer z.Close()
		src = z
	default:
		p := NewProblem(http.StatusUnsupportedMediaType, "Content-Encoding may be gzip or zstd.")
		p.Extra = map[string]any{"accept_encoding": "gzip, zstd"}
		return nil, p
	}
	body, err := readAll(src, limit, r.ContentLength, grow)
	if err != nil {
		return nil, bodyProblem(err, limit)
	}
	return body, nil
}

func readAll(src io.Reader, limit, hint int64, grow func(int64) error) ([]byte, error) {
	if hint < 0 || hint > limit {
		hint = 512
	}
	if err := grow(hint); err != nil {
		return nil, err
	}
	buf := make([]byte, 0, hint+512)
	for {
		n, err := src.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if int64(len(buf)) > limit {
			return nil, errTooLarge
		}
		if errors.Is(err, io.EOF) {
			return buf, nil
		}
		if err != nil {
			return nil, err
		}
		if len(buf) == cap(buf) {
			more := min(2*int64(cap(buf)), limit+512)
			if err := grow(more); err != nil {
				return nil, err
			}
			buf = slices.Grow(buf, int(more)-len(buf))
		}
	}
}

var errTooLarge = errors.New("too large")

func tooLarge(limit int64) *Problem {
	return NewProblem(http.StatusRequestEntityTooLarge, fmt.Sprintf("A request's body has at most %d bytes, after decompression too: send it in parts.", limit))
}

func bodyProblem(err error, limit int64) *Problem {
	if p := ProblemOf(err); p != nil {
		return p
	}
	var over *http.MaxBytesError
	if errors.As(err, &over) || errors.Is(err, errTooLarge) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return tooLarge(limit)
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) {
		return NewProblem(http.StatusRequestEntityTooLarge, "The zstd window is larger than 8 MiB: compress with a smaller one.")
	}
	return NewProblem(http.StatusBadRequest, "The body could not be read to its end: it is cut short or not compressed as Content-Encoding says.")
}

// MediaType is the media type of a request's body, in lower case, and a Problem when it is missing or names a charset
// other than UTF-8.
func MediaType(r *http.Request, accepted string) (string, error) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return "", UnsupportedMedia(accepted)
	}
	if cs := strings.ToLower(params["charset"]); cs != "" && cs != "utf-8" && cs != "utf8" && cs != "us-ascii" {
		return "", NewProblem(http.StatusUnsupportedMediaType, "The charset must be utf-8.")
	}
	return media, nil
}

// UnsupportedMedia is the answer to a Content-Type that is not accepted.
func UnsupportedMedia(accepted string) *Problem {
	return NewProblem(http.StatusUnsupportedMediaType, "Set Content-Type to one of: "+accepted+".")
}
