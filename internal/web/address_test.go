package web

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestAnAddressThatIsNoTextIsRefused(t *testing.T) {
	h := Outermost(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }), slog.New(slog.DiscardHandler), time.Now)
	for target, want := range map[string]int{
		"/a/b": 204, "/a/%E2%98%83": 204, "/a/%00": 204, "/a?q=%E2%98%83": 204, "/a?q=%zz": 204, "/a?q=1;2": 204,
		"/a/%ff": 400, "/a/%C3%28": 400, "/a?q=%ff": 400, "/a?%ff=1": 400, "/a?q=\xff": 400,
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
		if w.Code != want {
			t.Errorf("%q: %d, want %d", target, w.Code, want)
		}
	}
}
