package api

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/query"
)

func longAnswer() *resultView {
	total, points := 1.5, make(query.Points, 3000)
	for i := range points {
		points[i] = query.Point{UnixMS: int64(i) * 1000, Value: float64(i) / 3, Valid: i%7 > 0}
	}
	return &resultView{query.Result{Metric: "latency", Agg: "p95", Unit: "ms", From: time.Unix(0, 0).UTC(), To: time.Unix(3000, 0).UTC(), Step: 1e9,
		Series: []query.Series{{Labels: map[string]string{"path": "/a?<b>&\"c\"\n\u2028é", "status": "200"}, Points: points, Total: &total}, {Labels: map[string]string{}}}}}
}

func TestAnAnswerThatWritesItselfIsWrittenAsAnyOther(t *testing.T) {
	format := jsonFormat()
	for _, answer := range []any{longAnswer(), *longAnswer(), map[string]string{"a": "<b>"}} {
		var written, usual bytes.Buffer
		for range 2 { // the second in the memory of the first
			written.Reset()
			if err := format.Marshal(&written, answer); err != nil {
				t.Fatal(err)
			}
		}
		if err := huma.DefaultJSONFormat.Marshal(&usual, answer); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(written.Bytes(), usual.Bytes()) || !json.Valid(written.Bytes()) {
			t.Errorf("%.300s\nand not\n%.300s", written.Bytes(), usual.Bytes())
		}
	}
}
