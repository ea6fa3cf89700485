package api_test

import (
	"net/http"
	"strings"
	"testing"
)

func TestAQuestionThatGetsNoTurnToReadIsToldWhenToAskAgain(t *testing.T) {
	i := start(t, setup{})
	got, body := i.do(http.MethodGet, "/v1/metrics/events/query", givenKey, "")
	if got.StatusCode != http.StatusServiceUnavailable || got.Header.Get("Retry-After") != "5" || !strings.Contains(string(body), "Too many questions read events at the moment: ask again") {
		t.Errorf("%d %v: %s", got.StatusCode, got.Header, body)
	}
}
