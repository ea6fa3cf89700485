package signin

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

// Why somebody is not let in, or something is not done. What is told to those who are not signed in says nothing of which part was wrong.
var (
	ErrRefused      = errors.New("the e-mail, the password or the code is not right, or the account cannot sign in")
	ErrCode         = errors.New("the code of the authenticator app, or a recovery code, is needed too")
	ErrInvitation   = errors.New("the invitation is not known, was used already or has expired: ask for a new one")
	ErrMightier     = errors.New("a member can be made or changed only by somebody who may do all that the member may, before and after")
	ErrLastOwner    = errors.New("the tenant would be left without an owner: make another member one first")
	ErrNoPassword   = errors.New("the account has no password: it signs in by an identity provider")
	ErrWrongCurrent = errors.New("the current password is not right")
	ErrWrongCode    = errors.New("the code is not right, or was used already: wait for the next one")
	ErrNoTOTP       = errors.New("there is no secret to confirm: ask for one first")
	ErrHasTOTP      = errors.New("codes are asked for already: end that first")
	ErrNoRole       = errors.New("none of the groups has a role here")
	ErrUnverified   = errors.New("the identity provider has not verified the e-mail")
	ErrDisabled     = errors.New("the account is disabled")
)

// invitationTTL is how long an invitation is good.
const invitationTTL = 7 * 24 * time.Hour

// Config is what a Service is made of.
type Config struct {
	Catalog *catalog.Catalog
	Log     *slog.Logger
	Now     func() time.Time
	// Failed is told of each sign-in that was refused; it may be nil.
	Failed func(ctx context.Context, f Failure)
}

// Failure is a sign-in that was refused.
type Failure struct {
	Tenant tenant.ID
	Member string // id, if it is known
	Method auth.Method
	From   Origin
	Reason string // for the tenant's administrators
}

// Origin is where somebody signs in from.
type Origin struct {
	Address   string
	UserAgent string
	// Tenant and Session are of the session that the browser had until now; it ends with the sign-in.
	Tenant  tenant.ID
	Session string
}

// Begun is a session that has just begun, with its cookie's value, which is nowhere else.
type Begun struct {
	Session catalog.Entry[auth.Session]
	Member  catalog.Entry[auth.Member]
	Cookie  string
}

// Service lets people in.
type Service struct {
	Config
	hasher   *hasher
	failures *failures
	owners   locks // a tenant's is held while a change might take a tenant's last owner
}

// New makes a Service.
func New(c Config) *Service {
	if c.Failed == nil {
		c.Failed = func(context.Context, Failure) {}
	}
	return &Service{Config: c, hasher: newHasher(), failures: newFailures()}
}

// Password signs a member in by e-mail and password, and a code if the member has an authenticator app.
func (s *Service) Password(ctx context.Context, t tenant.ID, email, password, code string, from Origin) (Begun, error) {
	now := s.Now()
	if err := s.failures.take(t, email, from.Address, now); err != nil {
		return Begun{}, err
	}
	m, err := s.Catalog.MemberByEmail(ctx, t, email)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return Begun{}, err
	}
	right, err := s.hasher.matches(ctx, m.Value.Secrets.Password, password)
	if err != nil {
		return Begun{}, err
	}
	refuse := func(reason string, err error) (Begun, error) {
		s.failed(ctx, Failure{Tenant: t, Member: m.Slug, Method: auth.MethodPassword, From: from, Reason: reason})
		return Begun{}, err
	}
	switch {
	case m.Slug == "":
		return refuse("there is no such account", ErrRefused)
	case !right:
		return refuse("the password is wrong", ErrRefused)
	case m.Value.State != auth.MemberActive:
		return refuse("the account is "+string(m.Value.State), ErrRefused)
	case m.Value.Secrets.TOTP != "" && strings.TrimSpace(code) == "":
		s.failures.forgive(t, email, from.Address, false, now)
		return Begun{}, ErrCode
	}
	ctx = from.as(ctx, &m)
	if m.Value.Secrets.TOTP != "" {
		if m, err = s.spend(ctx, m, code, now); errors.Is(err, ErrWrongCode) {
			return refuse("the code is wrong or was used already", ErrRefused)
		} else if err != nil {
			return Begun{}, err
		}
	}
	s.failures.forgive(t, email, from.Address, true, now)
	return s.begin(ctx, m, auth.MethodPassword, "", from)
}

func (s *Service) failed(ctx context.Context, f Failure) {
	s.Log.Info("a sign-in was refused", "event.category", "authentication", "event.outcome", "failure", "event.reason", f.Reason,
		"tenant.id", string(f.Tenant), "user.id", f.Member, "source.address", f.From.Address)
	s.Failed(ctx, f)
}

// begin makes a session. It is a new one with a new cookie each time; the one that the browser had until now ends.
func (s *Service) begin(ctx context.Context, m catalog.Entry[auth.Member], method auth.Method, provider string, from Origin) (Begun, error) {
	now := s.Now().UTC()
	ctx = from.as(ctx, &m)
	if err := s.tidy(ctx, m.Tenant, m.Slug, now); err != nil {
		return Begun{}, err
	}
	id, cookie := auth.NewSession()
	session, err := s.Catalog.PutSession(ctx, m.Tenant, id, cookie, auth.Session{Member: m.Slug, Method: method, Provider: provider,
		CreatedAt: now, ExpiresAt: now.Add(auth.SessionLifetime), Address: from.Address, UserAgent: clip(from.UserAgent, maxUserAgent)})
	if err != nil {
		return Begun{}, err
	}
	if method == auth.MethodPassword { // one that was changed meanwhile has ended the sessions that there were
		now, err := s.Catalog.Member(ctx, m.Tenant, m.Slug)
		if err == nil && now.Value.Secrets.Password != m.Value.Secrets.Password {
			err = ErrRefused
		}
		if err != nil {
			return Begun{}, errors.Join(err, s.end(ctx, m.Tenant, id))
		}
	}
	if from.Session != "" {
		if err := s.end(ctx, from.Tenant, from.Session); err != nil {
			return Begun{}, err
		}
	}
	return Begun{Session: session, Member: m, Cookie: cookie}, nil
}

const (
	maxUserAgent = 300
	// maxSessions bounds the sessions of a member: the oldest makes room.
	maxSessions = 50
)

func clip(text string, n int) string {
	if len(text) > n {
		text = text[:n]
	}
	return strings.ToValidUTF8(strings.Map(printable, text), "")
}

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return -1
	}
	return r
}

// tidy ends a member's sessions that have expired, and the oldest if there are too many.
func (s *Service) tidy(ctx context.Context, t tenant.ID, member string, now time.Time) error {
	all, err := s.Sessions(ctx, t, member)
	if err != nil {
		return err
	}
	for i := range all { // the oldest first
		if !all[i].Value.Good(all[i].UsedAt, now) || len(all)-i >= maxSessions {
			if err := s.end(ctx, t, all[i].Slug); err != nil {
				return err
			}
		}
	}
	return nil
}

// Sessions are those of a member, or of all members if that is "", the oldest first, and those that have expired too.
func (s *Service) Sessions(ctx context.Context, t tenant.ID, member string) ([]catalog.Entry[auth.Session], error) {
	all, err := s.Catalog.Sessions(ctx, t)
	if err != nil {
		return nil, err
	}
	out := all[:0]
	for _, e := range all {
		if member == "" || e.Value.Member == member {
			out = append(out, e)
		}
	}
	sortByBegin(out)
	return out, nil
}

// End ends a session: it is refused from the moment that this returns.
func (s *Service) End(ctx context.Context, t tenant.ID, id string) error {
	return s.Catalog.DeleteSession(ctx, t, id)
}

// end is End for one that may have ended already.
func (s *Service) end(ctx context.Context, t tenant.ID, id string) error {
	if err := s.End(ctx, t, id); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("end a session: %w", err)
	}
	return nil
}

// EndAll ends the sessions of a member but for one.
func (s *Service) EndAll(ctx context.Context, t tenant.ID, member, but string) error {
	return s.endWhere(ctx, t, func(e *catalog.Entry[auth.Session]) bool { return e.Value.Member == member && e.Slug != but })
}

// EndProvider ends the sessions that began by an identity provider.
func (s *Service) EndProvider(ctx context.Context, t tenant.ID, slug string) error {
	return s.endWhere(ctx, t, func(e *catalog.Entry[auth.Session]) bool { return e.Value.Provider == slug })
}

func (s *Service) endWhere(ctx context.Context, t tenant.ID, which func(*catalog.Entry[auth.Session]) bool) error {
	all, err := s.Sessions(ctx, t, "")
	if err != nil {
		return err
	}
	for i := range all {
		if which(&all[i]) {
			if err := s.end(ctx, t, all[i].Slug); err != nil {
				return err
			}
		}
	}
	return nil
}

// secretToken is 256 random bits as text.
func secretToken() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails: the runtime ends the program first
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func hashed(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func same(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
