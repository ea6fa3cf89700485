package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/web"
)

type ticketView struct {
	Ticket    string    `json:"ticket"`
	ExpiresAt time.Time `json:"expires_at"`
}

func (a *api) liveRoutes() {
	const tag = "Live"
	register(a, operation{method: http.MethodPost, path: "/v1/live/tickets", id: "create-live-ticket", tag: tag, permission: auth.MetricsRead,
		summary: "A ticket for one live connection, for browsers, which cannot send a header", status: http.StatusCreated},
		func(_ context.Context, p auth.Principal, _ *struct{}) (*body[ticketView], error) {
			ticket, until := a.Tickets.Issue(p, a.Now())
			return &body[ticketView]{ticketView{ticket, until.UTC()}}, nil
		})
	a.mux.HandleFunc("GET /v1/live", func(w http.ResponseWriter, r *http.Request) {
		p, err := a.livePrincipal(r)
		if err != nil {
			a.problem(err).Write(w)
			return
		}
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Upgrade", "websocket")
			web.NewProblem(http.StatusUpgradeRequired, "This is a WebSocket.").Write(w)
			return
		}
		a.Live(w, r, p, func(ctx context.Context) bool { return a.holds(ctx, p) })
	})
	a.huma.OpenAPI().AddOperation(&huma.Operation{
		OperationID: "live", Method: http.MethodGet, Path: "/v1/live", Tags: []string{tag}, Summary: "Live data over a WebSocket",
		Description: "Send `{\"op\": \"subscribe\", \"id\": \"a\", \"metric\": \"events\", \"agg\": \"count\", \"step\": \"1s\", \"group_by\": [\"type\"], \"where\": {}, \"since\": \"15m\"}`, " +
			"or with `\"topic\": \"events\"` or `\"incidents\"` instead of a metric, and `{\"op\": \"unsubscribe\", \"id\": \"a\"}`. " +
			"Frames come as `snapshot`, then `points`, `events` or `incidents`; a point replaces an earlier one of the same series and time. " +
			"`{\"op\": \"lagged\", \"dropped\": n}` says that this client was too slow.\n\nNeeds the permission `metrics:read`, for the topics `events:read` or `incidents:read`.",
		Security:   []map[string][]string{{"bearer": {}}, {"session": {}}, {}},
		Extensions: takes(auth.MetricsRead),
		Parameters: []*huma.Param{{Name: "ticket", In: "query", Description: "From POST /v1/live/tickets, instead of the header.", Schema: &huma.Schema{Type: huma.TypeString}}},
		Responses:  map[string]*huma.Response{"101": {Description: "Switching to WebSocket."}, "401": {Description: "No or bad credentials."}},
	})
}

// livePrincipal takes the header or a ticket.
func (a *api) livePrincipal(r *http.Request) (auth.Principal, error) {
	if ticket := r.URL.Query().Get("ticket"); ticket != "" {
		p, err := a.Tickets.Redeem(ticket, a.Now())
		if err == nil && !a.holds(r.Context(), p) {
			err = auth.ErrBadCredentials
		}
		return p, err
	}
	p, err := a.caller(r)
	if err == nil && !p.Can(auth.MetricsRead) && !p.Can(auth.EventsRead) && !p.Can(auth.IncidentsRead) {
		err = forbidden(p, auth.MetricsRead)
	}
	return p, err
}
