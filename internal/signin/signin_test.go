package signin

import (
	"context"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/store"
	"github.com/pulsestream/pulsestream/internal/store/sqlite"
	"github.com/pulsestream/pulsestream/internal/tenant"
)

const (
	goodPassword = "tapir veranda quilt 9"
	nextPassword = "otter lantern brick 4"
)

// house is a Service over a real catalog, with a clock.
type house struct {
	*Service
	t        *testing.T
	now      time.Time
	sessions *auth.Sessions
	failed   []Failure
}

func newHouse(t *testing.T) *house {
	t.Helper()
	things, err := sqlite.Open(t.Context(), sqlite.Config{Path: filepath.Join(t.TempDir(), "catalog.sqlite"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = things.Close() })
	h := &house{t: t, now: time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC), sessions: auth.NewSessions(things)}
	clock := func() time.Time { return h.now }
	h.Service = New(Config{Catalog: catalog.New(things, func(tenant.ID) {}, clock), Log: slog.New(slog.DiscardHandler), Now: clock,
		Failed: func(_ context.Context, f Failure) { h.failed = append(h.failed, f) }})
	h.hasher.memory, h.hasher.passes = 64, 1 // what hashing costs is another test's affair
	for _, id := range []tenant.ID{"acme", "other"} {
		body, err := json.Marshal(tenant.Tenant{ID: id, Name: "Umbrella & Sons"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := things.Put(t.Context(), store.Put{Tenant: id, Kind: store.KindTenant, Slug: string(id), Body: body, At: h.now}); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func owner() auth.Principal {
	return auth.Principal{Tenant: "acme", Subject: "key:k", Role: auth.RoleOwner}
}

// invite makes a member who has not accepted yet.
func (h *house) invite(email string) (id, token string) {
	h.t.Helper()
	e, i, err := h.Invite(h.t.Context(), owner(), email, "Ada", auth.RoleEditor)
	if err != nil {
		h.t.Fatal(err)
	}
	return e.Slug, i.Token
}

// join makes a member who has.
func (h *house) join(email string) (Begun, auth.Principal) {
	h.t.Helper()
	_, token := h.invite(email)
	begun, err := h.Accept(h.t.Context(), token, goodPassword, "", "", Origin{Address: "192.0.2.1"})
	if err != nil {
		h.t.Fatal(err)
	}
	return begun, h.principal(begun)
}

func (h *house) principal(b Begun) auth.Principal {
	h.t.Helper()
	p, err := h.sessions.Authenticate(h.t.Context(), b.Cookie, h.now)
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

func (h *house) signIn(email, password, code string) error {
	_, err := h.Password(h.t.Context(), "acme", email, password, code, Origin{Address: "192.0.2.1"})
	return err
}

// enrol has codes asked for, and returns the secret and the recovery codes.
func (h *house) enrol(p auth.Principal) (secret string, recovery []string) {
	h.t.Helper()
	secret, at, err := h.NewTOTP(h.t.Context(), p, goodPassword, Origin{})
	if err != nil {
		h.t.Fatal(err)
	}
	if u, err := url.Parse(at); err != nil || u.Scheme != "otpauth" || u.Host != "totp" || u.Query().Get("secret") != secret {
		h.t.Fatal(at, err)
	}
	if err := h.signIn("ada@example.com", goodPassword, ""); err != nil {
		h.t.Fatalf("a secret that was not confirmed counts: %v", err)
	}
	recovery, err = h.ConfirmTOTP(h.t.Context(), p, h.code(secret))
	if err != nil || len(recovery) != recoveryCount {
		h.t.Fatal(recovery, err)
	}
	return secret, recovery
}

func (h *house) code(secret string) string {
	h.t.Helper()
	raw, err := base32.StdEncoding.DecodeString(secret)
	if err != nil {
		h.t.Fatal(err)
	}
	return totpCode(raw, h.now.Unix()/totpStep, totpDigits)
}

func TestCodesAreThoseOfRFC6238(t *testing.T) {
	for at, want := range map[int64]string{59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130"} {
		if got := totpCode([]byte("12345678901234567890"), at/totpStep, 8); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
}

func TestATOTPCodeIsGoodOnceAndOnlyNearItsTime(t *testing.T) {
	h := newHouse(t)
	_, p := h.join("ada@example.com")
	secret, _ := h.enrol(p)
	if err := h.signIn("ada@example.com", goodPassword, ""); !errors.Is(err, ErrCode) {
		t.Errorf("without a code: %v", err)
	}
	if err := h.signIn("ada@example.com", "not the password", ""); !errors.Is(err, ErrRefused) {
		t.Errorf("without the password, that a code is needed is not told: %v", err)
	}
	if err := h.signIn("ada@example.com", goodPassword, h.code(secret)); !errors.Is(err, ErrRefused) {
		t.Errorf("the code that confirmed the secret is good again: %v", err)
	}
	h.now = h.now.Add(totpStep * time.Second)
	old := h.code(secret)
	if err := h.signIn("ada@example.com", goodPassword, old[:3]+" "+old[3:]); err != nil {
		t.Errorf("the next code: %v", err)
	}
	if err := h.signIn("ada@example.com", goodPassword, old); !errors.Is(err, ErrRefused) {
		t.Errorf("a code twice: %v", err)
	}
	h.now = h.now.Add(10 * totpStep * time.Second)
	early, late := h.now.Add(totpStep*time.Second), h.now.Add(-3*totpStep*time.Second)
	now := h.now
	h.now = late
	stale := h.code(secret)
	h.now = early
	ahead := h.code(secret)
	h.now = now
	if err := h.signIn("ada@example.com", goodPassword, stale); !errors.Is(err, ErrRefused) {
		t.Errorf("a code of long ago: %v", err)
	}
	if err := h.signIn("ada@example.com", goodPassword, ahead); err != nil {
		t.Errorf("a clock that is half a minute ahead: %v", err)
	}
	if err := h.EndTOTP(t.Context(), p, ahead); !errors.Is(err, ErrWrongCode) {
		t.Errorf("a used code ends it: %v", err)
	}
	h.now = h.now.Add(5 * totpStep * time.Second)
	if err := h.EndTOTP(t.Context(), p, h.code(secret)); err != nil {
		t.Error(err)
	}
	if err := h.signIn("ada@example.com", goodPassword, ""); err != nil {
		t.Errorf("after its end: %v", err)
	}
}

func TestOfManyWhoShowTheSameCodeOneComesIn(t *testing.T) {
	h := newHouse(t)
	_, p := h.join("ada@example.com")
	_, recovery := h.enrol(p)
	var wg sync.WaitGroup
	results := make(chan error, 5)
	for range 5 {
		wg.Go(func() { results <- h.signIn("ada@example.com", goodPassword, recovery[0]) })
	}
	wg.Wait()
	in := 0
	for range 5 {
		if err := <-results; err == nil {
			in++
		} else if !errors.Is(err, ErrRefused) {
			t.Error(err)
		}
	}
	if in != 1 {
		t.Errorf("%d came in with one code", in)
	}
}

func TestARecoveryCodeIsGoodOnce(t *testing.T) {
	h := newHouse(t)
	_, p := h.join("ada@example.com")
	_, recovery := h.enrol(p)
	seen := map[string]bool{}
	for _, code := range recovery {
		if seen[code] || len(bare(code)) != 24 {
			t.Errorf("the code %q", code)
		}
		seen[code] = true
	}
	if err := h.signIn("ada@example.com", goodPassword, strings.ToUpper(recovery[3])); err != nil {
		t.Errorf("a recovery code: %v", err)
	}
	if err := h.signIn("ada@example.com", goodPassword, recovery[3]); !errors.Is(err, ErrRefused) {
		t.Errorf("twice: %v", err)
	}
	if err := h.signIn("ada@example.com", goodPassword, recovery[4]); err != nil {
		t.Errorf("the next: %v", err)
	}
	e, err := h.Catalog.Member(t.Context(), "acme", p.Subject[len("member:"):])
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(e.Value)
	if err != nil || strings.Contains(string(body), strings.ToUpper(strings.ReplaceAll(recovery[5], "-", ""))) {
		t.Errorf("a recovery code is kept as it is: %s, %v", body, err)
	}
}

func TestFailedSignInsAreLimitedByAccountAndByAddressWhetherTheAccountExistsOrNot(t *testing.T) {
	h := newHouse(t)
	h.join("ada@example.com")
	for _, email := range []string{"ada@example.com", "nobody@example.com"} {
		var limited *LimitedError
		tries := 0
		for ; tries < 100 && !errors.As(h.signIn(email, "wrong", ""), &limited); tries++ {
		}
		if tries != allowances()[perPair].burst || limited.Wait <= 0 || limited.Wait > time.Minute {
			t.Errorf("%s: limited after %d, for %+v", email, tries, limited)
		}
	}
	if err := h.signIn("ada@example.com", goodPassword, ""); err == nil {
		t.Error("the right password, tried among wrong ones, is told")
	}
	if _, err := h.Password(t.Context(), "acme", "ada@example.com", goodPassword, "", Origin{Address: "198.51.100.7"}); err != nil {
		t.Errorf("from where she is, the account is locked by somebody elsewhere: %v", err)
	}
	h.now = h.now.Add(time.Minute)
	if err := h.signIn("ada@example.com", goodPassword, ""); err != nil {
		t.Errorf("a minute later: %v", err)
	}
	if len(h.failed) == 0 || h.failed[0].Reason == "" || h.failed[0].From.Address != "192.0.2.1" {
		t.Errorf("failures are told of: %+v", h.failed)
	}
}

func TestAllowancesHoldForAccountsAndNetworks(t *testing.T) {
	now := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		email, address func(int) string
		want           int
	}{
		"one account from one place":  {func(int) string { return "a" }, func(int) string { return "192.0.2.1" }, 10},
		"one account from all over":   {func(int) string { return "a" }, func(i int) string { return fmt.Sprintf("192.0.%d.%d", i/250, i%250) }, 50},
		"all accounts from one place": {func(i int) string { return fmt.Sprint(i) }, func(int) string { return "192.0.2.1" }, 60},
		"all accounts from one /64":   {func(i int) string { return fmt.Sprint(i) }, func(i int) string { return fmt.Sprintf("2001:db8::%x", i) }, 60},
		"an account however written":  {func(i int) string { return []string{"a@b", " A@B "}[i%2] }, func(int) string { return "::ffff:192.0.2.1" }, 10},
	} {
		f, n := newFailures(), 0
		for ; n < 1000 && f.take("acme", c.email(n), c.address(n), now) == nil; n++ {
		}
		if n != c.want {
			t.Errorf("%s: %d tries, want %d", name, n, c.want)
		}
	}
	f := newFailures()
	for i := range maxFailures / 2 { // three are kept of each
		_ = f.take("acme", fmt.Sprint(i), fmt.Sprint(i), now)
	}
	if len(f.until) > maxFailures {
		t.Errorf("%d are remembered", len(f.until))
	}
}

func TestNobodyLocksAnAccountOutOfWhereItHasComeInFrom(t *testing.T) {
	h := newHouse(t)
	_, p := h.join("ada@example.com")
	if err := h.signIn("ada@example.com", goodPassword, ""); err != nil {
		t.Fatal(err)
	}
	from := func(i int) string { return fmt.Sprintf("198.51.100.%d", i) }
	for i := range 100 {
		_ = h.failures.take("acme", "ada@example.com", from(i), h.now)
	}
	var limited *LimitedError
	if _, err := h.Password(t.Context(), "acme", "ada@example.com", goodPassword, "", Origin{Address: "203.0.113.1"}); !errors.As(err, &limited) {
		t.Errorf("from anywhere else: %v", err)
	}
	if err := h.signIn("ada@example.com", goodPassword, ""); err != nil {
		t.Errorf("from where she has come in before: %v", err)
	}
	if _, err := h.proven(t.Context(), p, goodPassword, Origin{Address: "203.0.113.1"}); err != nil {
		t.Errorf("who is signed in: %v", err)
	}
	for n := range 20 {
		if _, err := h.proven(t.Context(), p, "wrong", Origin{Address: from(n)}); errors.As(err, &limited) != (n >= allowances()[perPair].burst) {
			t.Errorf("a session tries password %d: %v", n, err)
		}
	}
	h.now = h.now.Add(knownFor + time.Second)
	for i := range 100 {
		_ = h.failures.take("acme", "ada@example.com", from(i), h.now)
	}
	if err := h.signIn("ada@example.com", goodPassword, ""); !errors.As(err, &limited) {
		t.Errorf("a month later the place is forgotten: %v", err)
	}
}

func TestASessionEndsWhenItIsNotUsedAndInAnyCaseAfterAWeek(t *testing.T) {
	h := newHouse(t)
	begun, _ := h.join("ada@example.com")
	good := func() error {
		_, err := h.sessions.Authenticate(t.Context(), begun.Cookie, h.now)
		return err
	}
	began := h.now
	for h.now.Add(auth.SessionIdle-time.Minute).Sub(began) < auth.SessionLifetime {
		h.now = h.now.Add(auth.SessionIdle - time.Minute)
		if err := good(); err != nil {
			t.Fatalf("in use, after %v: %v", h.now.Sub(began), err)
		}
	}
	h.now = began.Add(auth.SessionLifetime)
	if err := good(); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("after a week: %v", err)
	}
	h.now = began.Add(8 * 24 * time.Hour)
	if err := h.signIn("ada@example.com", goodPassword, ""); err != nil {
		t.Fatal(err)
	}
	idle, err := h.Password(t.Context(), "acme", "ada@example.com", goodPassword, "", Origin{})
	if err != nil {
		t.Fatal(err)
	}
	p := h.principal(idle)
	h.now = h.now.Add(auth.SessionIdle)
	if _, err := h.sessions.Authenticate(t.Context(), idle.Cookie, h.now); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("after 12 hours without use: %v", err)
	}
	if h.sessions.Holds(t.Context(), p, h.now) {
		t.Error("its WebSocket goes on")
	}
}

func TestAMemberHasSoManySessionsAndTheOldestMakesRoom(t *testing.T) {
	h := newHouse(t)
	first, _ := h.join("ada@example.com")
	for range maxSessions {
		h.now = h.now.Add(time.Second)
		if err := h.signIn("ada@example.com", goodPassword, ""); err != nil {
			t.Fatal(err)
		}
	}
	all, err := h.Sessions(t.Context(), "acme", "")
	if err != nil || len(all) != maxSessions {
		t.Errorf("%d sessions, %v", len(all), err)
	}
	if _, err := h.sessions.Authenticate(t.Context(), first.Cookie, h.now); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("the oldest: %v", err)
	}
}

func TestAnInvitationIsGoodOnceForAWeekAndOnlyTheLast(t *testing.T) {
	h := newHouse(t)
	accept := func(token, password string) error {
		_, err := h.Accept(t.Context(), token, password, "", "", Origin{})
		return err
	}
	id, token := h.invite("ada@example.com")
	if err := h.signIn("ada@example.com", "", ""); !errors.Is(err, ErrRefused) {
		t.Errorf("before the invitation is accepted: %v", err)
	}
	_, newer, err := h.Reinvite(t.Context(), owner(), id, false)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{"an earlier one": token, "another tenant's": "other" + strings.TrimPrefix(newer.Token, "acme"), "none": "", "half": newer.Token[:20],
		"with another secret": newer.Token[:len(newer.Token)-1], "dots": "..", "of nobody": "acme.mnobody." + secretToken()} {
		if err := accept(bad, goodPassword); !errors.Is(err, ErrInvitation) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := accept(newer.Token, "short"); err == nil {
		t.Error("a short password")
	}
	h.now = h.now.Add(invitationTTL - time.Second)
	if err := accept(newer.Token, goodPassword); err != nil {
		t.Errorf("in time, after a password that was not taken: %v", err)
	}
	if err := accept(newer.Token, nextPassword); !errors.Is(err, ErrInvitation) {
		t.Errorf("twice: %v", err)
	}
	_, late, err := h.Reinvite(t.Context(), owner(), id, false)
	if err != nil {
		t.Fatal(err)
	}
	h.now = h.now.Add(invitationTTL)
	if err := accept(late.Token, nextPassword); !errors.Is(err, ErrInvitation) {
		t.Errorf("too late: %v", err)
	}
	if err := h.signIn("ada@example.com", goodPassword, ""); err != nil {
		t.Errorf("the old password, while nobody has accepted the new invitation: %v", err)
	}
}

func TestAnInvitationIsForWhoTheMemberWasThen(t *testing.T) {
	for name, change := range map[string]Change{"a mightier role": {Role: auth.RoleOwner}, "another address": {Email: "eve@example.com"}, "disabled meanwhile": {State: auth.MemberDisabled}} {
		h := newHouse(t)
		id, token := h.invite("ada@example.com")
		if _, err := h.Change(t.Context(), owner(), id, change, catalog.Always); err != nil {
			t.Fatal(name, err)
		}
		if change.State == auth.MemberDisabled {
			if _, err := h.Change(t.Context(), owner(), id, Change{State: auth.MemberActive}, catalog.Always); err != nil {
				t.Fatal(name, err)
			}
		}
		if _, err := h.Accept(t.Context(), token, goodPassword, "", "", Origin{}); !errors.Is(err, ErrInvitation) {
			t.Errorf("%s: %v", name, err)
		}
	}
	h := newHouse(t)
	id, token := h.invite("ada@example.com")
	if _, err := h.Change(t.Context(), owner(), id, Change{Role: auth.RoleViewer}, catalog.Always); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Accept(t.Context(), token, goodPassword, "", "", Origin{}); err != nil {
		t.Errorf("a lesser role: %v", err)
	}
}

func TestWhoHasOnlyAnInvitationCannotGuessTheCode(t *testing.T) {
	h := newHouse(t)
	begun, p := h.join("ada@example.com")
	secret, _ := h.enrol(p)
	_, i, err := h.Reinvite(t.Context(), owner(), begun.Member.Slug, false)
	if err != nil {
		t.Fatal(err)
	}
	var limited *LimitedError
	tries := 0
	for ; !errors.As(err, &limited) && tries < 1000; tries++ {
		if _, err = h.Accept(t.Context(), i.Token, nextPassword, "000000", "", Origin{Address: "192.0.2.9"}); err == nil {
			t.Fatal("a code was guessed")
		}
	}
	if tries > 60 {
		t.Errorf("%d tries at once: %v", tries, err)
	}
	h.now = h.now.Add(time.Hour)
	if _, err := h.Accept(t.Context(), i.Token, nextPassword, h.code(secret), "", Origin{Address: "192.0.2.9"}); err != nil {
		t.Errorf("the right one, later: %v", err)
	}
}

func TestWhoeverResetsAPasswordNeedsTheCodeUnlessItIsResetToo(t *testing.T) {
	h := newHouse(t)
	begun, p := h.join("ada@example.com")
	h.enrol(p)
	id := begun.Member.Slug
	_, i, err := h.Reinvite(t.Context(), owner(), id, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Accept(t.Context(), i.Token, nextPassword, "", "", Origin{}); !errors.Is(err, ErrCode) {
		t.Errorf("without a code: %v", err)
	}
	if _, i, err = h.Reinvite(t.Context(), owner(), id, true); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Accept(t.Context(), i.Token, nextPassword, "", "", Origin{}); err != nil {
		t.Errorf("with the authenticator app reset: %v", err)
	}
	if _, err := h.sessions.Authenticate(t.Context(), begun.Cookie, h.now); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("a session from before: %v", err)
	}
	if err := h.signIn("ada@example.com", nextPassword, ""); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestAPasswordChangeNeedsTheCurrentOneAndEndsAllOtherSessions(t *testing.T) {
	h := newHouse(t)
	mine, p := h.join("ada@example.com")
	other, err := h.Password(t.Context(), "acme", "ada@example.com", goodPassword, "", Origin{})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.SetPassword(t.Context(), p, "wrong", nextPassword, Origin{}); !errors.Is(err, ErrWrongCurrent) {
		t.Errorf("without the current one: %v", err)
	}
	var bad *PasswordError
	if err := h.SetPassword(t.Context(), p, goodPassword, "password1234", Origin{}); !errors.As(err, &bad) {
		t.Errorf("to a common one: %v", err)
	}
	if err := h.SetPassword(t.Context(), p, goodPassword, nextPassword, Origin{}); err != nil {
		t.Fatal(err)
	}
	if _, err := h.sessions.Authenticate(t.Context(), mine.Cookie, h.now); err != nil {
		t.Errorf("the session that asked: %v", err)
	}
	if _, err := h.sessions.Authenticate(t.Context(), other.Cookie, h.now); !errors.Is(err, auth.ErrBadCredentials) {
		t.Errorf("another session: %v", err)
	}
	if err := h.signIn("ada@example.com", goodPassword, ""); !errors.Is(err, ErrRefused) {
		t.Errorf("the old password: %v", err)
	}
	if _, _, err := h.NewTOTP(t.Context(), p, "wrong", Origin{}); !errors.Is(err, ErrWrongCurrent) {
		t.Errorf("an authenticator app without the password: %v", err)
	}
}

func TestTheSameEmailIsAnotherAccountInAnotherTenant(t *testing.T) {
	h := newHouse(t)
	h.join("ada@example.com")
	_, i, err := h.Invite(t.Context(), auth.Principal{Tenant: "other", Role: auth.RoleOwner}, "ada@example.com", "", auth.RoleViewer)
	if err != nil {
		t.Fatal(err)
	}
	there, err := h.Accept(t.Context(), i.Token, nextPassword, "", "", Origin{})
	if err != nil || h.principal(there).Tenant != "other" {
		t.Fatal(err)
	}
	if err := h.signIn("ada@example.com", nextPassword, ""); !errors.Is(err, ErrRefused) {
		t.Errorf("the password of the other tenant's account: %v", err)
	}
	if _, _, err := h.Invite(t.Context(), owner(), "ADA@example.com", "", auth.RoleViewer); !errors.Is(err, catalog.ErrEmailTaken) {
		t.Errorf("a second one in the same tenant: %v", err)
	}
}

func TestTheLastOwnersRoleStaysWhateverTheirGroups(t *testing.T) {
	h := newHouse(t)
	p, _, err := h.PutProvider(t.Context(), owner(), "corp", catalog.Provider{Type: catalog.ProviderOIDC, Roles: map[string]auth.Role{"bosses": auth.RoleOwner, "staff": auth.RoleViewer}}, catalog.Always)
	if err != nil {
		t.Fatal(err)
	}
	enter := func(subject string, groups ...string) auth.Role {
		t.Helper()
		b, err := h.Enter(t.Context(), p, auth.MethodOIDC, Identity{Issuer: "https://corp", Subject: subject, Groups: groups}, Origin{})
		if err != nil {
			t.Fatal(err)
		}
		return h.principal(b).Role
	}
	if r := enter("1", "bosses"); r != auth.RoleOwner {
		t.Error(r)
	}
	if r := enter("1", "staff"); r != auth.RoleOwner {
		t.Errorf("the last owner is %s", r)
	}
	enter("2", "bosses", "staff")
	if r := enter("1", "staff"); r != auth.RoleViewer {
		t.Errorf("with another owner there: %s", r)
	}
}

func TestPasswordsHaveNoRulesButLengthAndNotBeingGuessed(t *testing.T) {
	for password, good := range map[string]bool{
		"correct horse battery staple":     true,
		"tapir veranda quilt 9":            true,
		"kQ7vXw2mZr9p":                     true,
		"ünïcödé ist schön hier":           true,
		"пароль из нескольких слов":        true,
		"わたしのねこはとてもかわいいです":                 true,
		strings.Repeat("zebra lamp ", 6):   true,  // more than 64 characters
		strings.Repeat("zebra lamps ", 11): false, // more than 128
		"!#%&/()=?+*~,;:":                  false,
		"short horse":                      false,
		"aaaaaaaaaaaaaaaa":                 false,
		"abababababababab":                 false,
		"123456789012":                     false,
		"password1234":                     false,
		"Passw0rd2024!":                    false,
		"P@ssw0rdP@ssw0rd":                 false,
		"qwertyuiop123":                    false,
		"1q2w3e4r5t6y":                     false,
		"welcome12345":                     false,
		"letmeinletmein1":                  false,
		"iloveyou2025!!":                   false,
		"Summer2026Summer":                 false,
		"adminadmin123":                    false,
		"changeme-now1":                    false,
		"pulsestream-1":                    false,
		"umbrella12345":                    false, // the tenant
		"lovelace-1815":                    false, // the person
		"ada.lovelace99":                   false,
	} {
		err := CheckPassword(password, "ada@lovelace.example", "Ada Lovelace", "acme", "Umbrella & Sons")
		if (err == nil) != good {
			t.Errorf("%q: %v", password, err)
		}
	}
}

func TestAPasswordIsTakenAsItIsHoweverItIsEncoded(t *testing.T) {
	h := newHasher()
	long := strings.Repeat("päss wörter ", 10)
	hash, err := h.hash(t.Context(), long)
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatal(hash, err)
	}
	again, err := h.hash(t.Context(), long)
	if err != nil || again == hash {
		t.Error("two hashes of one password are the same")
	}
	for password, want := range map[string]bool{
		long: true, strings.ReplaceAll(strings.ReplaceAll(long, "ä", "a\u0308"), "ö", "o\u0308"): true, // the same text
		long[:len(long)-1]: false, strings.ToUpper(long): false, strings.TrimSpace(long): false, "": false,
	} {
		if got, err := h.matches(t.Context(), hash, password); err != nil || got != want {
			t.Errorf("%q: %v, %v", password, got, err)
		}
	}
	for _, broken := range []string{"x", "$argon2i$v=19$m=1,t=1,p=1$YQ$YQ", "$argon2id$v=19$m=99999999,t=1,p=1$YQ$YQ", "$argon2id$v=19$m=1,t=0,p=1$YQ$YQ", "$argon2id$v=19$m=1,t=1,p=0$YQ$YQ"} {
		if got, err := h.matches(t.Context(), broken, "x"); got || err == nil {
			t.Errorf("%q: %v, %v", broken, got, err)
		}
	}
}

func TestFewPasswordsAreHashedAtATimeAndWhoWaitsTooLongIsTold(t *testing.T) {
	h := &hasher{room: make(chan struct{}, 1), memory: 64, passes: 1}
	h.room <- struct{}{} // somebody else's turn, and no end to it
	ctx, cancel := context.WithTimeoutCause(t.Context(), 10*time.Millisecond, ErrBusy)
	defer cancel()
	if _, err := h.matches(ctx, "", "x"); !errors.Is(err, ErrBusy) {
		t.Errorf("while there is no room: %v", err)
	}
	<-h.room
	if right, err := h.matches(t.Context(), "", "x"); right || err != nil {
		t.Errorf("an account that does not exist: %v, %v", right, err)
	}
}

func TestAnAccountThatDoesNotExistTakesAsLongAsAWrongPassword(t *testing.T) {
	h := newHasher()
	hash, err := h.hash(t.Context(), goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	// What it costs is memory gone through twice, and that can be measured on a busy machine too; what little is beside it is not told from noise.
	cost := func(stored string) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if right, err := h.matches(t.Context(), stored, "wrong"); right || err != nil {
			t.Fatal(right, err)
		}
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	if there, absent := cost(hash), cost(""); absent < hashMemory<<10 || absent < there*9/10 || absent > there*11/10 {
		t.Errorf("%d bytes with an account, %d without", there, absent)
	}
	e := newHouse(t)
	e.hasher = newHasher()
	e.invite("ada@example.com") // has no password yet
	for _, email := range []string{"ada@example.com", "nobody@example.com"} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := e.signIn(email, "wrong", ""); !errors.Is(err, ErrRefused) {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		if after.TotalAlloc-before.TotalAlloc < hashMemory<<10 {
			t.Errorf("%s is refused without the work", email)
		}
	}
}

func TestAnAttemptIsOfOneBrowserTenantProviderAndTime(t *testing.T) {
	now := time.Date(2026, 11, 30, 9, 0, 0, 0, time.UTC)
	cookie, a := NewAttempt("acme", "corp", now)
	if got, ok := ReadAttempt(cookie, "acme", "corp", now.Add(AttemptTTL-time.Second)); !ok || got != a || !got.Matches(a.State) || got.Matches("") || a.State == a.Nonce || a.Nonce == a.Verifier {
		t.Errorf("%+v, %v", got, ok)
	}
	at, secret, _ := strings.Cut(cookie, ".")
	other, _ := NewAttempt("acme", "corp", now)
	for name, c := range map[string]struct {
		cookie, provider string
		tenant           tenant.ID
		now              time.Time
	}{
		"another browser":  {other, "corp", "acme", now},
		"another tenant":   {cookie, "corp", "other", now},
		"another provider": {cookie, "else", "acme", now},
		"too late":         {cookie, "corp", "acme", now.Add(AttemptTTL + time.Second)},
		"made younger":     {fmt.Sprint(now.Unix()+500) + "." + secret, "corp", "acme", now.Add(AttemptTTL + time.Second)},
		"no secret":        {at + ".", "corp", "acme", now},
		"nothing":          {"", "corp", "acme", now},
	} {
		if got, ok := ReadAttempt(c.cookie, c.tenant, c.provider, c.now); ok && got.Matches(a.State) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}
