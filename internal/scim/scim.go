// Package scim is the server side of SCIM 2.0 (RFC 7643, RFC 7644): a company's directory makes, changes and removes users and groups here.
//
// What is kept is a Directory's affair, which is one tenant's: this package reads requests, finds, filters, patches and answers. Attributes that are not kept are
// taken and left out of answers, as the RFCs allow; what this server keeps is what /Schemas says. It is lenient where the directories of Microsoft and Okta
// differ from the RFCs: the case of operations, booleans as texts, dotted names in a patch without a path.
package scim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Names of schemas.
const (
	userSchema  = "urn:ietf:params:scim:schemas:core:2.0:User"
	groupSchema = "urn:ietf:params:scim:schemas:core:2.0:Group"
	listSchema  = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	patchSchema = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	errorSchema = "urn:ietf:params:scim:api:messages:2.0:Error"
)

// MediaType is that of SCIM.
const MediaType = "application/scim+json"

// Bounds of requests and answers.
const (
	maxBody    = 2 << 20
	maxFilter  = 1000
	maxResults = 200
	maxText    = 255
	maxMembers = 10_000
)

// User is a person as a directory says.
type User struct {
	ID, ExternalID, UserName              string
	DisplayName, Formatted, Given, Family string
	Email                                 string
	Active                                bool
	Groups                                []Ref // read only
	Version                               string
	Created, Modified                     time.Time
}

// Group is a group as a directory says.
type Group struct {
	ID, ExternalID, DisplayName string
	Members                     []Ref
	Version                     string
	Created, Modified           time.Time
}

// Ref names another resource.
type Ref struct{ ID, Display string }

// Directory keeps one tenant's users and groups, for one caller. Version, where it is not empty, is the only one that may be changed or removed.
type Directory interface {
	// Users and Groups return all, by id.
	Users(ctx context.Context) ([]User, error)
	Groups(ctx context.Context) ([]Group, error)
	// PutUser makes a user that has no id, or changes the one with its id; PutGroup likewise.
	PutUser(ctx context.Context, u User, version string) (User, error)
	PutGroup(ctx context.Context, g Group, version string) (Group, error)
	DeleteUser(ctx context.Context, id, version string) error
	DeleteGroup(ctx context.Context, id, version string) error
}

// What a Directory answers.
var (
	ErrNotFound = errors.New("there is no such resource")
	ErrTaken    = errors.New("there is one with that name, or of that identity, already")
	ErrVersion  = errors.New("it was changed by somebody else: read it again")
	ErrFull     = errors.New("there is no room for more")
)

// Error is what a request is refused with.
type Error struct {
	Status int
	Type   string // scimType of RFC 7644, section 3.12; empty for none
	Detail string
}

func (e *Error) Error() string { return e.Detail }

func bad(kind, format string, args ...any) error {
	return &Error{http.StatusBadRequest, kind, fmt.Sprintf(format, args...)}
}

// call is one request.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	dir  Directory
	base string // address of the service, without a slash at the end
	log  *slog.Logger
}

// Serve answers a request for a path below base, which has been stripped off, on behalf of whoever dir is for.
func Serve(w http.ResponseWriter, r *http.Request, path string, dir Directory, base string, log *slog.Logger) {
	c := &call{w: w, r: r, dir: dir, base: base, log: log}
	if err := c.route(strings.Split(strings.Trim(path, "/"), "/")); err != nil {
		c.fail(err)
	}
}

func (c *call) route(path []string) error {
	head, id := path[0], ""
	if len(path) > 1 {
		id = path[1]
	}
	switch {
	case len(path) > 2:
	case head == "Users" && id == "":
		return c.users()
	case head == "Users":
		return c.user(id)
	case head == "Groups" && id == "":
		return c.groups()
	case head == "Groups":
		return c.group(id)
	case head == "ServiceProviderConfig" || head == "ResourceTypes" || head == "Schemas":
		return c.discover(head, id)
	case head == "Bulk" || head == "Me":
		return &Error{http.StatusNotImplemented, "", "That is not offered here: see /ServiceProviderConfig."}
	}
	return ErrNotFound
}

func (c *call) notAllowed(methods ...string) error {
	c.w.Header().Set("Allow", strings.Join(methods, ", "))
	return &Error{http.StatusMethodNotAllowed, "", "That method is not for this path."}
}

// fail answers with an error.
func (c *call) fail(err error) {
	e := &Error{}
	switch {
	case errors.As(err, &e):
	case errors.Is(err, ErrNotFound):
		e = &Error{http.StatusNotFound, "", ErrNotFound.Error()}
	case errors.Is(err, ErrTaken):
		e = &Error{http.StatusConflict, "uniqueness", ErrTaken.Error()}
	case errors.Is(err, ErrFull):
		e = &Error{http.StatusConflict, "tooMany", ErrFull.Error()}
	case errors.Is(err, ErrVersion):
		e = &Error{http.StatusPreconditionFailed, "", ErrVersion.Error()}
	case errors.Is(err, context.Canceled):
		e = &Error{499, "", "the client has gone"}
	default:
		c.log.Error("a SCIM request failed", "error.message", err.Error())
		e = &Error{http.StatusInternalServerError, "", "Something went wrong here. It has been logged."}
	}
	Fail(c.w, e)
}

// Fail writes an error as SCIM has it.
func Fail(w http.ResponseWriter, e *Error) {
	send(w, e.Status, struct {
		Schemas []string `json:"schemas"`
		Status  string   `json:"status"`
		Type    string   `json:"scimType,omitempty"`
		Detail  string   `json:"detail"`
	}{[]string{errorSchema}, strconv.Itoa(e.Status), e.Type, e.Detail})
}

func send(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", MediaType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		return // who asked has gone
	}
}

// decode reads a body of the media type of SCIM, or plain JSON.
func (c *call) decode(v any) error {
	media, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil || media != MediaType && media != "application/json" {
		return &Error{http.StatusUnsupportedMediaType, "", "Send " + MediaType + "."}
	}
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, maxBody))
	if err != nil {
		return &Error{http.StatusRequestEntityTooLarge, "", fmt.Sprintf("A body has at most %d bytes.", maxBody)}
	}
	if err := json.Unmarshal(b, v); err != nil {
		return bad("invalidSyntax", "The body cannot be read: %v.", err)
	}
	return nil
}

// version is the one that If-Match names, "" for any.
func (c *call) version() string {
	v := strings.TrimSpace(c.r.Header.Get("If-Match"))
	if v == "*" {
		return ""
	}
	return strings.Trim(strings.TrimPrefix(v, "W/"), `"`)
}

func etag(version string) string { return `W/"` + version + `"` }

type meta struct {
	ResourceType string    `json:"resourceType"`
	Created      time.Time `json:"created,omitzero"`
	LastModified time.Time `json:"lastModified,omitzero"`
	Location     string    `json:"location"`
	Version      string    `json:"version,omitempty"`
}

// answer sends one resource.
func (c *call) answer(status int, v any, m *meta) error {
	h := c.w.Header()
	h.Set("ETag", m.Version)
	if status == http.StatusCreated {
		h.Set("Location", m.Location)
	}
	if c.r.Method == http.MethodGet && m.Version != "" && c.r.Header.Get("If-None-Match") == m.Version {
		c.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	out, err := c.wanted(v)
	if err != nil {
		return err
	}
	send(c.w, status, out)
	return nil
}

// wanted is a resource held to what the request wants to see of it: attributes, or all without excludedAttributes.
func (c *call) wanted(v any) (any, error) {
	q := c.r.URL.Query()
	only, without := names(q.Get("attributes")), names(q.Get("excludedAttributes"))
	if len(only) == 0 && len(without) == 0 {
		return v, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &all); err != nil {
		return nil, err
	}
	for name := range all {
		low := strings.ToLower(name)
		if low == "schemas" || low == "id" { // always returned
			continue
		}
		if len(only) > 0 && !only[low] || without[low] {
			delete(all, name)
		}
	}
	return all, nil
}

// names reads a list of attributes; of one within another, the outer.
func names(list string) map[string]bool {
	out := map[string]bool{}
	for name := range strings.SplitSeq(list, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		if i := strings.LastIndexByte(name, ':'); i >= 0 {
			name = name[i+1:]
		}
		if name, _, _ = strings.Cut(name, "."); name != "" {
			out[name] = true
		}
	}
	return out
}

// listing answers with the page of what was found that the request asks for.
func listing[T any](c *call, found []T, view func(*T) any) error {
	q := c.r.URL.Query()
	start, err := number(q.Get("startIndex"), 1)
	if err != nil {
		return err
	}
	count, err := number(q.Get("count"), maxResults)
	if err != nil {
		return err
	}
	start, count = max(start, 1), min(max(count, 0), maxResults)
	first := min(start-1, len(found))
	page := found[first:min(first+count, len(found))]
	out := make([]any, 0, len(page))
	for i := range page {
		v, err := c.wanted(view(&page[i]))
		if err != nil {
			return err
		}
		out = append(out, v)
	}
	send(c.w, http.StatusOK, struct {
		Schemas   []string `json:"schemas"`
		Total     int      `json:"totalResults"`
		Start     int      `json:"startIndex"`
		Count     int      `json:"itemsPerPage"`
		Resources []any    `json:"Resources"`
	}{[]string{listSchema}, len(found), start, len(out), out})
	return nil
}

func number(text string, otherwise int) (int, error) {
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, bad("invalidValue", "%q is no number.", text)
	}
	return n, nil
}

// truth is a boolean, which some directories write as a text.
type truth bool

// UnmarshalJSON takes true, "true" and "True".
func (t *truth) UnmarshalJSON(b []byte) error {
	v, err := strconv.ParseBool(strings.Trim(string(b), `"`))
	if err != nil {
		return fmt.Errorf("%s is neither true nor false", b)
	}
	*t = truth(v)
	return nil
}

func hasSchema(schemas []string, want string) error {
	for _, s := range schemas {
		if strings.EqualFold(s, want) {
			return nil
		}
	}
	return bad("invalidSyntax", "The schemas have to name %s.", want)
}

// checkText refuses texts that are too long or cannot be shown.
func checkText(name, text string) error {
	if len(text) > maxText || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return bad("invalidValue", "%s has at most %d bytes, without control characters.", name, maxText)
	}
	return nil
}
