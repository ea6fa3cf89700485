package saml

import (
	"strings"

	"github.com/crewjam/saml"
)

// emails and names are the attributes that identity providers use for a person's e-mail and name, the first that is there counts.
func emails() []string {
	return []string{"email", "mail", "emailaddress", "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress", "urn:oid:0.9.2342.19200300.100.1.3"}
}

func names() []string {
	return []string{"displayName", "name", "http://schemas.microsoft.com/identity/claims/displayname", "urn:oid:2.16.840.1.113730.3.1.241",
		"http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name", "urn:oid:2.5.4.3", "cn"}
}

// maxText bounds each text that is taken over.
const maxText = 255

// identity is who a verified assertion is about. The e-mail is the word of the tenant's own identity provider, and shown as such; it identifies nobody.
func (p *Provider) identity(a *saml.Assertion) (Identity, error) {
	if a.Subject == nil || a.Subject.NameID == nil {
		return Identity{}, refused("it names nobody")
	}
	id := a.Subject.NameID
	subject := id.Value
	if id.NameQualifier != "" && id.NameQualifier != a.Issuer.Value {
		subject = id.NameQualifier + "!" + subject
	}
	switch {
	case strings.TrimSpace(id.Value) == "" || len(subject) > maxText || strings.ContainsFunc(subject, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return Identity{}, refused("its NameID is empty, longer than %d bytes, or has control characters", maxText)
	case id.Format == string(saml.TransientNameIDFormat):
		return Identity{}, refused("its NameID is another one at each sign-in (transient): have the identity provider send a persistent one")
	}
	values := attributes(a)
	who := Identity{Issuer: a.Issuer.Value, Subject: subject, Email: first(values, emails()), Name: first(values, names())}
	if who.Email == "" && id.Format == string(saml.EmailAddressNameIDFormat) {
		who.Email = id.Value
	}
	who.EmailVerified = who.Email != ""
	groups := p.cfg.GroupsAttribute
	if groups == "" {
		groups = DefaultGroups
	}
	who.Groups = values[groups]
	return who, nil
}

// attributes are an assertion's, by their names.
func attributes(a *saml.Assertion) map[string][]string {
	out := map[string][]string{}
	for _, s := range a.AttributeStatements {
		for _, at := range s.Attributes {
			for _, v := range at.Values {
				if text := strings.TrimSpace(v.Value); text != "" && len(text) <= maxText {
					out[at.Name] = append(out[at.Name], text)
				}
			}
		}
	}
	return out
}

func first(values map[string][]string, names []string) string {
	for _, n := range names {
		if len(values[n]) > 0 {
			return values[n][0]
		}
	}
	return ""
}
