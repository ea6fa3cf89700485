package web

import (
	"bufio"
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
// many bytes in all, wherever they are. The body is put into buf, from its beginning, if it fits there. The error is a Problem; so should
// grow's be.
func ReadBody(w http.ResponseWriter, r *http.Request, buf []byte, limit int64, grow func(int64) error) ([]byte, error) {
	if r.ContentLength > limit {
		return nil, tooLarge(limit)
	}
	var src io.Reader = r.Body
	hint := r.ContentLength
	if hint < 0 { // the server holds it to what it says
		src = http.MaxBytesReader(w, r.Body, limit)
	}
	switch enc := strings.ToLower(strings.TrimSpace(r.Header.Get("Content-Encoding"))); enc {
	case "", "identity":
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(src)
		if err != nil {
			return nil, bodyProblem(err, limit)
		}
		src, hint = z, -1
	case "zstd":
		packed := bufio.NewReaderSize(src, 16<<10)
		window, err := zstdWindow(packed)
		if err != nil {
			return nil, bodyProblem(err, limit)
		}
		all := grow
		grow = func(n int64) error { return all(window + n) }
		z, err := zstd.NewReader(packed, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(uint64(window)), zstd.WithDecoderMaxMemory(uint64(limit)+1<<20)) //nolint:gosec // both are positive
		if err != nil {
			return nil, bodyProblem(err, limit)
		}
		defer z.Close()
		src, hint = z, -1
	default:
		p := NewProblem(http.StatusUnsupportedMediaType, "Content-Encoding may be gzip or zstd.")
		p.Extra = map[string]any{"accept_encoding": "gzip, zstd"}
		return nil, p
	}
	body, err := readAll(src, buf[:cap(buf)], limit, hint, grow)
	if err != nil {
		return nil, bodyProblem(err, limit)
	}
	return body, nil
}

// Windows of zstd frames: the memory that a frame asks for before it gives anything. Most encoders' are leastWindow at their usual level.
const (
	leastWindow = 2 << 20
	mostWindow  = 8 << 20
)

// zstdWindow is the window that the frames of a body may have: that of the first, or leastWindow if that is more.
func zstdWindow(packed *bufio.Reader) (int64, error) {
	var h zstd.Header
	begin, err := packed.Peek(zstd.HeaderMaxSize)
	if err != nil && !errors.Is(err, io.EOF) {
		return 0, err
	}
	if h.Decode(begin) == nil && h.WindowSize > mostWindow {
		return 0, zstd.ErrWindowSizeExceeded
	}
	return int64(max(leastWindow, min(h.WindowSize, mostWindow))), nil
}

// Pieces that a body of unknown length is read into.
const (
	firstPiece = 4 << 10
	nextPiece  = 256 << 10
)

func readAll(src io.Reader, buf []byte, limit, hint int64, grow func(int64) error) ([]byte, error) {
	taken := hint + 512
	if hint < 0 {
		taken = firstPiece
	}
	if err := grow(taken); err != nil {
		return nil, err
	}
	if int64(len(buf)) < taken {
		buf = make([]byte, taken)
	}
	var full [][]byte
	piece, total := buf[:0:taken], int64(0)
	for {
		n, err := src.Read(piece[len(piece):cap(piece)])
		piece = piece[:len(piece)+n]
		switch total += int64(n); {
		case total > limit:
			return nil, errTooLarge
		case errors.Is(err, io.EOF) && len(full) == 0:
			return buf[:len(piece)], nil
		case errors.Is(err, io.EOF):
			return slices.Concat(append(full, piece)...), nil
		case err != nil:
			return nil, err
		}
		if len(piece) < cap(piece) {
			continue
		}
		if taken += nextPiece; taken > limit+nextPiece {
			taken = limit + nextPiece
		}
		if err := grow(taken); err != nil {
			return nil, err
		}
		if len(full) == 0 && int64(len(buf)) >= taken {
			piece = buf[:len(piece):taken]
		} else {
			full, piece = append(full, piece), make([]byte, 0, nextPiece)
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
		return NewProblem(http.StatusRequestEntityTooLarge, "The zstd window is larger than 8 MiB, or than 2 MiB and that of the first frame: compress with a smaller one.")
	}
	return NewProblem(http.StatusBadRequest, "The body could not be read to its end: it is cut short or not compressed as Content-Encoding says.")
}

// MediaType is the media type of a request's body, in lower case, and a Problem when it is missing or names a charset
// other than UTF-8.
func MediaType(r *http.Request, accepted string) (string, error) {
	switch plain := r.Header.Get("Content-Type"); plain {
	case "application/json", "application/x-ndjson", "application/cloudevents+json", "application/cloudevents-batch+json":
		return plain, nil
	}
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
