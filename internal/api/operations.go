package api

import (
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/web"
)

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
		web.JSON(w, http.StatusOK, map[string]string{"status": "ready"})
	})
	a.mux.Handle("GET /metrics", a.Metrics)
	a.mux.HandleFunc("GET /docs", a.docs)
	const tag = "Operations"
	for path, what := range map[string]string{"/healthz": "Alive", "/readyz": "Able to take events, and why not", "/metrics": "Prometheus metrics"} {
		a.huma.OpenAPI().AddOperation(&huma.Operation{OperationID: "get-" + path[1:], Method: http.MethodGet, Path: path, Tags: []string{tag}, Summary: what,
			Responses: map[string]*huma.Response{"200": {Description: what}}})
	}
}
