package signin

import (
	"context"
	"errors"
	"testing"

	"github.com/pulsestream/pulsestream/internal/auth"
	"github.com/pulsestream/pulsestream/internal/catalog"
	"github.com/pulsestream/pulsestream/internal/scim"
)

const corpIssuer = "https://corp"

// directory is that of acme, by an owner's key.
func (h *house) directory() *Directory {
	return h.Directory(owner(), func(context.Context, *catalog.Entry[catalog.Provider]) (string, error) { return corpIssuer, nil })
}

func (h *house) provider(by auth.Principal, roles map[string]auth.Role) (catalog.Entry[catalog.Provider], error) {
	p, _, err := h.PutProvider(h.t.Context(), by, "corp", catalog.Provider{Type: catalog.ProviderOIDC, Roles: roles}, catalog.Always)
	return p, err
}

func (h *house) corp() catalog.Entry[catalog.Provider] {
	h.t.Helper()
	p, err := h.provider(owner(), map[string]auth.Role{"bosses": auth.RoleOwner, "staff": auth.RoleViewer})
	if err != nil {
		h.t.Fatal(err)
	}
	return p
}

// provisions makes a member of a directory, in groups.
func (h *house) provisions(u scim.User, groups ...string) scim.User {
	h.t.Helper()
	made, err := h.directory().PutUser(h.t.Context(), u, "")
	for _, g := range groups {
		if err == nil {
			_, err = h.directory().PutGroup(h.t.Context(), scim.Group{DisplayName: g, Members: []scim.Ref{{ID: made.ID}}}, "")
		}
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return made
}

func (h *house) member(id string) catalog.Entry[auth.Member] {
	h.t.Helper()
	e, err := h.Catalog.Member(h.t.Context(), "acme", id)
	if err != nil {
		h.t.Fatal(err)
	}
	return e
}

func TestNobodyTakesAMemberOverWhomADirectoryHasMadeAndWhoIsNotLinkedYet(t *testing.T) {
	h := newHouse(t)
	made := h.provisions(scim.User{UserName: "ada", ExternalID: "u-1", Active: true}, "staff")
	e := h.member(made.ID)
	e.Value.Role = auth.RoleOwner // as one whose provider was removed
	if _, err := h.Catalog.PutMember(t.Context(), "acme", e.Slug, e.Value, catalog.Condition(e.Revision)); err != nil {
		t.Fatal(err)
	}
	admin := auth.Principal{Tenant: "acme", Subject: "key:a", Role: auth.RoleAdmin}
	if _, err := h.provider(admin, map[string]auth.Role{"staff": auth.RoleViewer}); !errors.Is(err, ErrMightier) {
		t.Errorf("an admin says where an owner comes from: %v", err)
	}
	p := h.corp()
	disabled, err := h.directory().PutUser(t.Context(), scim.User{UserName: "bob", Active: false}, "")
	if err != nil {
		t.Fatal(err)
	}
	b := h.member(disabled.ID)
	b.Value.ExternalID, b.Value.Groups = "u-2", []string{"staff"}
	if _, err := h.Catalog.PutMember(t.Context(), "acme", b.Slug, b.Value, catalog.Condition(b.Revision)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Enter(t.Context(), p, auth.MethodOIDC, Identity{Issuer: corpIssuer, Subject: "u-2"}, Origin{}); !errors.Is(err, ErrDisabled) {
		t.Error(err)
	}
	if got := h.member(disabled.ID).Value.Identities; len(got) != 0 {
		t.Errorf("who is disabled is linked: %v", got)
	}
	if in, err := h.Enter(t.Context(), p, auth.MethodOIDC, Identity{Issuer: corpIssuer, Subject: "u-1"}, Origin{}); err != nil || in.Member.Slug != made.ID || len(h.member(made.ID).Value.Identities) != 1 {
		t.Errorf("%+v %v", in.Member, err)
	}
}

func TestWhoHasNoRoleAnyMoreByTheDirectoryHasNoPasswordEither(t *testing.T) {
	h := newHouse(t)
	h.corp()
	made := h.provisions(scim.User{UserName: "ada", ExternalID: "u-1", Email: "ada@corp.example", Active: true}, "staff")
	_, i, err := h.Reinvite(t.Context(), owner(), made.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Accept(t.Context(), i.Token, goodPassword, "", "", Origin{}); err != nil {
		t.Fatal(err)
	}
	if err := h.signIn("ada@corp.example", goodPassword, ""); err != nil {
		t.Fatal(err)
	}
	_, i, err = h.Reinvite(t.Context(), owner(), made.ID, false)
	if err != nil {
		t.Fatal(err)
	}
	groups, err := h.directory().Groups(t.Context())
	if err != nil || len(groups) != 1 {
		t.Fatal(groups, err)
	}
	if err := h.directory().DeleteGroup(t.Context(), groups[0].ID, ""); err != nil {
		t.Fatal(err)
	}
	if err := h.signIn("ada@corp.example", goodPassword, ""); !errors.Is(err, ErrRefused) {
		t.Errorf("the password is good still: %v", err)
	}
	if _, err := h.Accept(t.Context(), i.Token, goodPassword, "", "", Origin{}); !errors.Is(err, ErrInvitation) {
		t.Errorf("the invitation is good still: %v", err)
	}
}

func TestAnIdentityThatWasSomebodyElsesOnceIsAnotherMember(t *testing.T) {
	h := newHouse(t)
	p := h.corp()
	first := h.provisions(scim.User{UserName: "ada", ExternalID: "u-1", Active: true})
	if first.ID != auth.MemberIDOf(auth.Identity{Provider: "corp", Issuer: corpIssuer, Subject: "u-1"}) {
		t.Fatal(first.ID)
	}
	rename := func(external string) {
		t.Helper()
		u := first
		u.ExternalID = external
		if _, err := h.directory().PutUser(t.Context(), u, ""); err != nil {
			t.Fatal(err)
		}
	}
	rename("u-2")
	second := h.provisions(scim.User{UserName: "bob", ExternalID: "u-1", Active: true})
	if second.ID == first.ID || h.member(first.ID).Value.ExternalID != "u-2" {
		t.Errorf("the directory has made %s of %s", second.ID, first.ID)
	}
	if err := h.directory().DeleteUser(t.Context(), second.ID, ""); err != nil {
		t.Fatal(err)
	}
	who := Identity{Issuer: corpIssuer, Subject: "u-1", Groups: []string{"staff"}}
	in, err := h.Enter(t.Context(), p, auth.MethodOIDC, who, Origin{})
	if err != nil || in.Member.Slug == first.ID {
		t.Fatalf("%s %v", in.Member.Slug, err)
	}
	if again, err := h.Enter(t.Context(), p, auth.MethodOIDC, who, Origin{}); err != nil || again.Member.Slug != in.Member.Slug {
		t.Errorf("%s %v", again.Member.Slug, err)
	}
}

func TestNothingIsHeldUpWhileAnIdentityProviderIsAskedWhoItIs(t *testing.T) {
	h := newHouse(t)
	h.corp()
	asked := false
	d := h.Directory(owner(), func(context.Context, *catalog.Entry[catalog.Provider]) (string, error) {
		asked = true
		if !h.owners.mutex("acme").TryLock() {
			return "", errors.New("the tenant is locked")
		}
		h.owners.Unlock("acme")
		return corpIssuer, nil
	})
	made, err := d.PutUser(t.Context(), scim.User{UserName: "ada", ExternalID: "u-1", Active: true}, "")
	if err != nil || !asked {
		t.Fatal(asked, err)
	}
	made.DisplayName = "Ada"
	if _, err := d.PutUser(t.Context(), made, ""); err != nil {
		t.Error(err)
	}
	h.owners.Lock("acme")
	defer h.owners.Unlock("acme")
	if !h.owners.mutex("other").TryLock() {
		t.Error("one tenant holds up another")
	}
}
