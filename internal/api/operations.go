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

// Loss names acknowledged log messages that a damaged disk has taken. A server that has lost some takes events as before: what is gone can't be
// had back by refusing more.
type Loss struct {
	Partition int       `json:"partition"`
	From      uint64    `json:"from" doc:"Number of the first lost log message; 0 when it is not known."`
	To        uint64    `json:"to" doc:"Number of the last one; 0 when it is not known."`
	Stored    uint64    `json:"stored,omitempty" doc:"Up to this number the events were in the store when the loss was found: only the log lacks them."`
	Reason    string    `json:"reason"`
	SetAside  string    `json:"set_aside,omitempty" doc:"A copy of the file as it was found."`
	At        time.Time `json:"at"`
}

// Messages is how many log messages are gone, and how many of these are not in the store either; known is false when nobody can tell.
func (l *Loss) Messages() (gone, missing uint64, known bool) {
	if l.From == 0 || l.To < l.From {
		return 0, 0, false
	}
	gone = l.To - l.From + 1
	return gone, gone - min(gone, max(l.Stored, l.From-1)-(l.From-1)), true
}

// Fleet is how a process stands in its fleet.
type Fleet struct {
	Roles []string `json:"roles"`
	Store string   `json:"store" doc:"The server that keeps events and settings, as it names itself."`
	Log   LogState `json:"log"`
	// Holds are the partitions that this process's workers process, Workers all that there are.
	Holds   []int         `json:"holds,omitempty"`
	Workers []WorkerState `json:"workers,omitempty"`
	// Follows is how many partitions' live data come to this process without a gap.
	Follows int `json:"follows,omitempty"`
}

// LogState is what is known of the log's servers.
type LogState struct {
	Partitions int    `json:"partitions"`
	Synced     string `json:"synced" doc:"always: every server says that it writes each message to disk before it acknowledges it; unknown: they do not say."`
}

// WorkerState is a worker and the partitions that it holds.
type WorkerState struct {
	Name  string `json:"name"`
	Holds []int  `json:"holds"`
}

// shownLosses is how many losses /readyz names, the newest.
const shownLosses = 20

type readyView struct {
	Status     string      `json:"status"`
	Rebuilding *Rebuilding `json:"rebuilding,omitempty"`
	Losses     []Loss      `json:"losses,omitempty"`
	LossCount  int         `json:"loss_count,omitempty"` // of all
	Stalled    string      `json:"stalled,omitempty"`    // why events that were taken are not processed at present
	Limits     string      `json:"limits,omitempty"`     // how rate limits are not as they should be
	Secrets    string      `json:"secrets,omitempty"`    // how secrets are not kept as they should be
	Fleet      *Fleet      `json:"fleet,omitempty"`
}

func (a *api) readyView() readyView {
	lost := a.Losses()
	v := readyView{Status: "ready", Rebuilding: a.Rebuilding(), LossCount: len(lost), Losses: lost[max(0, len(lost)-shownLosses):]}
	if err := a.Stalled(); err != nil {
		v.Stalled = err.Error()
	}
	if a.Limits != nil && a.Limits() {
		v.Limits = "Redis does not answer: this process limits by itself until it does, so a tenant may send its whole rate to each"
	}
	if a.Secrets != nil {
		v.Secrets = a.Secrets.Concern()
	}
	if a.Fleet != nil {
		f := a.Fleet()
		v.Fleet = &f
	}
	return v
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
		web.JSON(w, http.StatusOK, a.readyView())
	})
	a.mux.Handle("GET /metrics", a.Metrics)
	a.mux.HandleFunc("GET /docs", a.docs)
	const tag = "Operations"
	for path, what := range map[string]string{"/healthz": "Alive", "/readyz": "Able to take events, and why not", "/metrics": "Prometheus metrics"} {
		a.huma.OpenAPI().AddOperation(&huma.Operation{OperationID: "get-" + path[1:], Method: http.MethodGet, Path: path, Tags: []string{tag}, Summary: what,
			Responses: map[string]*huma.Response{"200": {Description: what}}})
	}
}
