package api

import (
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/web"
)

// Rebuilding says that stored events were lost to damage and are being read from the log again. Until it is over, queries, lists and
// incidents lack what has not been read yet; nothing that is sent is refused for it.
type Rebuilding struct {
	Since    time.Time `json:"since"`
	Reason   string    `json:"reason"`
	SetAside string    `json:"set_aside" doc:"Where the damaged files are."`
	Progress float64   `json:"progress" doc:"From 0 to 1."`
}

type readyView struct {
	Status     string      `json:"status"`
	Rebuilding *Rebuilding `json:"rebuilding,omitempty"`
}

// IncompleteHeader is on every answer that may lack something because the store is being rebuilt.
const IncompleteHeader = "PulseStream-Incomplete"

func (a *api) markIncomplete(h http.Header) {
	if r := a.Rebuilding(); r != nil {
		h.Set(IncompleteHeader, fmt.Sprintf("rebuilding; progress=%.2f", r.Progress))
	}
}

// operationRoutes are for those who run the server; they need no credentials and say nothing of tenants.
func (a *api) operationRoutes() {
	a.mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		web.JSON(w, http.StatusOK, map[string]string{"status": "ok", "version": a.Version})
	})
	a.mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := a.Ready(); err != nil {
			p := web.NewProblem(http.StatusServiceUnavailable, "Events can't be taken: "+err.Error()+".")
			p.RetryAfter = 1
			p.Write(w)
			return
		}
		web.JSON(w, http.StatusOK, readyView{Status: "ready", Rebuilding: a.Rebuilding()})
	})
	a.mux.Handle("GET /metrics", a.Metrics)
	a.mux.HandleFunc("GET /docs", a.docs)
	const tag = "Operations"
	for path, what := range map[string]string{"/healthz": "Alive", "/readyz": "Able to take events, and why not", "/metrics": "Prometheus metrics"} {
		a.huma.OpenAPI().AddOperation(&huma.Operation{OperationID: "get-" + path[1:], Method: http.MethodGet, Path: path, Tags: []string{tag}, Summary: what,
			Responses: map[string]*huma.Response{"200": {Description: what}}})
	}
}
