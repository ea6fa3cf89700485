package api

import (
	"encoding/json"
	"io"
	"sync"

	"github.com/danielgtaylor/huma/v2"
)

// selfWriting is an answer that appends its own JSON, whole and without white space.
type selfWriting interface{ AppendJSON(b []byte) []byte }

// keepWritten bounds the memory of an answer that is used for another one.
const keepWritten = 1 << 20

// jsonFormat writes answers. encoding/json would look at each byte again of what an answer has written by itself: of a long chart that took as much time as to compute it.
func jsonFormat() huma.Format {
	var free sync.Pool // *[]byte
	return huma.Format{Unmarshal: json.Unmarshal, Marshal: func(w io.Writer, v any) error {
		answer, ok := v.(selfWriting)
		if !ok {
			return huma.DefaultJSONFormat.Marshal(w, v)
		}
		b, ok := free.Get().(*[]byte)
		if !ok {
			b = new([]byte)
		}
		*b = append(answer.AppendJSON((*b)[:0]), '\n')
		_, err := w.Write(*b)
		if cap(*b) <= keepWritten {
			free.Put(b)
		}
		return err
	}}
}
