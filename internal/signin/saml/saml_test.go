package saml

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/crewjam/saml"
	dsig "github.com/russellhaering/goxmldsig"
)

// isRefused says whether an answer was refused for a reason that has these words in it.
func isRefused(err error, words string) bool {
	var r *Refused
	return errors.As(err, &r) && strings.Contains(r.Reason, words)
}

func TestWhoSignsInAtARealIdentityProviderIsWhoItSays(t *testing.T) {
	for name, r := range map[string]*rig{"ECDSA": newRig(t, ecKey(t)), "RSA": newRig(t, rsaKey(t, 2048))} {
		secret := NewSecret()
		response, relay := r.visit(t, secret)
		who, err := r.provider.Finish(t.Context(), secret, response, relay)
		want := Identity{Issuer: r.company.idp.MetadataURL.String(), Subject: "u-1", Email: "ann@example.com", EmailVerified: true, Name: "Ann", Groups: []string{"ops", "dev"}}
		if err != nil || !reflect.DeepEqual(who, want) {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
		if _, err := r.provider.Finish(t.Context(), secret, response, relay); !isRefused(err, "already been used") {
			t.Errorf("%s: an answer is taken twice: %v", name, err)
		}
		other := NewSecret()
		response, relay = r.visit(t, secret)
		for what, c := range map[string][3]string{
			"another browser's secret":        {other, response, relay},
			"no secret":                       {"", response, relay},
			"another RelayState":              {secret, response, r.provider.relayState(other)},
			"no RelayState":                   {secret, response, ""},
			"another browser's answer":        {other, response, r.provider.relayState(other)}, // its owner has asked for something else
			"an answer that is no base64":     {secret, "<Response/>", relay},
			"an answer that is nothing":       {secret, "", relay},
			"an answer that is far too large": {secret, strings.Repeat("QUFB", maxResponse), relay},
		} {
			if who, err := r.provider.Finish(t.Context(), c[0], c[1], c[2]); !isRefused(err, "") {
				t.Errorf("%s: %s: %+v, %v", name, what, who, err)
			}
		}
		if _, err := r.provider.Finish(t.Context(), secret, response, relay); err != nil {
			t.Errorf("%s: what was refused has used nothing up: %v", name, err)
		}
	}
}

func TestAnAnswerForAnotherTenantOrProviderOrInstallationIsRefused(t *testing.T) {
	r := newRig(t, ecKey(t))
	secret := NewSecret()
	l := r.letter(secret)
	if _, err := r.finish(t, secret, text(t, l.write(t, r.company.signer))); err != nil {
		t.Fatal(err)
	}
	l.id = "a2"
	response := encoded(text(t, l.write(t, r.company.signer)))
	for name, p := range map[string]*Provider{"another tenant": r.at(t, base, "blue", "login"), "another provider": r.at(t, base, "acme", "other"), "another installation": r.at(t, "https://other.example.com", "acme", "login")} {
		for _, relay := range []string{r.provider.relayState(secret), p.relayState(secret)} {
			if who, err := p.Finish(t.Context(), secret, response, relay); !isRefused(err, "") {
				t.Errorf("%s: %+v, %v", name, who, err)
			}
		}
	}
}

func TestEveryPartOfAnAnswerCounts(t *testing.T) {
	r := newRig(t, rsaKey(t, 2048))
	stranger := newSigner(t, rsaKey(t, 2048))
	secret := NewSecret()
	bearer := func(data string) string {
		return `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">` + data + `</saml:SubjectConfirmation>`
	}
	audience := `<saml:AudienceRestriction><saml:Audience>` + r.provider.EntityID() + `</saml:Audience></saml:AudienceRestriction>`
	late := start().Add(5 * time.Minute).Format(stamp)
	for name, c := range map[string]struct {
		change func(*letter)
		by     signer
		ok     bool
	}{
		"as it should be":           {func(*letter) {}, r.company.signer, true},
		"the whole response signed": {func(l *letter) { l.whole = true }, r.company.signer, true},
		"nothing signed":            {func(l *letter) { l.unsigned = true }, r.company.signer, false},
		"signed by a stranger":      {func(*letter) {}, stranger, false},
		"all signed by a stranger":  {func(l *letter) { l.whole = true }, stranger, false},
		"signed with SHA-1":         {func(l *letter) { l.method = dsig.RSASHA1SignatureMethod }, r.company.signer, false},
		"all signed with SHA-1":     {func(l *letter) { l.method, l.whole = dsig.RSASHA1SignatureMethod, true }, r.company.signer, false},
		"signed with SHA-512":       {func(l *letter) { l.method = dsig.RSASHA512SignatureMethod }, r.company.signer, true},
		"another issuer":            {func(l *letter) { l.issuer = "https://evil.example.com" }, r.company.signer, false},
		"a response's other issuer": {func(l *letter) { l.responseIssuer = "https://evil.example.com" }, r.company.signer, false},
		"another audience":          {func(l *letter) { l.audience = "https://other.example.com" }, r.company.signer, false},
		"no audience":               {func(l *letter) { l.conditions = `<saml:Conditions NotOnOrAfter="` + late + `"/>` }, r.company.signer, false},
		"no conditions":             {func(l *letter) { l.conditions = " " }, r.company.signer, false},
		"a condition nobody knows": {func(l *letter) {
			l.conditions = `<saml:Conditions NotOnOrAfter="` + late + `">` + audience + `<saml:Condition xmlns:x="urn:x" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="x:Moon"/></saml:Conditions>`
		}, r.company.signer, false},
		"another recipient":             {func(l *letter) { l.recipient = "https://other.example.com/acs" }, r.company.signer, false},
		"another destination":           {func(l *letter) { l.destination = "https://other.example.com/acs" }, r.company.signer, false},
		"another request":               {func(l *letter) { l.request = "id-0" }, r.company.signer, false},
		"a response to another request": {func(l *letter) { l.response = "id-0" }, r.company.signer, false},
		"nobody asked":                  {func(l *letter) { l.request, l.response = "", "" }, r.company.signer, false},
		"an answer to no request": {func(l *letter) {
			l.confirmation = bearer(`<saml:SubjectConfirmationData Recipient="` + l.recipient + `" NotOnOrAfter="` + late + `"/>`)
		}, r.company.signer, false},
		"no confirmation":           {func(l *letter) { l.confirmation = " " }, r.company.signer, false},
		"a confirmation of no data": {func(l *letter) { l.confirmation = bearer("") }, r.company.signer, false},
		"a confirmation without an end": {func(l *letter) {
			l.confirmation = bearer(`<saml:SubjectConfirmationData InResponseTo="` + l.request + `" Recipient="` + l.recipient + `"/>`)
		}, r.company.signer, false},
		"held by a key, not a bearer": {func(l *letter) {
			l.confirmation = strings.Replace(bearer(`<saml:SubjectConfirmationData InResponseTo="`+l.request+`" Recipient="`+l.recipient+`" NotOnOrAfter="`+late+`"/>`), "bearer", "holder-of-key", 1)
		}, r.company.signer, false},
		"expired":                 {func(l *letter) { l.until = r.now.Add(-10 * time.Minute) }, r.company.signer, false},
		"issued long ago":         {func(l *letter) { l.issued = r.now.Add(-time.Hour) }, r.company.signer, false},
		"issued later":            {func(l *letter) { l.issued = r.now.Add(time.Hour) }, r.company.signer, false},
		"nobody has signed in":    {func(l *letter) { l.statements = " " }, r.company.signer, false},
		"nobody":                  {func(l *letter) { l.nameID = "" }, r.company.signer, false},
		"somebody new every time": {func(l *letter) { l.format = string(saml.TransientNameIDFormat) }, r.company.signer, false},
		"a very long name":        {func(l *letter) { l.nameID = strings.Repeat("a", 256) }, r.company.signer, false},
		"a name in two lines":     {func(l *letter) { l.nameID = "a&#10;b" }, r.company.signer, false},
	} {
		l := r.letter(secret)
		c.change(&l)
		who, err := r.finish(t, secret, text(t, l.write(t, c.by)))
		if ok := err == nil && who.Subject == "u-1"; ok != c.ok || !c.ok && !isRefused(err, "") {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
	}
}

func TestWhatIsNoPlainAnswerIsRefusedBeforeItIsRead(t *testing.T) {
	r := newRig(t, ecKey(t))
	secret := NewSecret()
	l := r.letter(secret)
	good := text(t, l.write(t, r.company.signer))
	for name, c := range map[string][2]string{
		"a comment in the NameID":            {swap(good, "u-1<", "u-<!-- -->1<"), "comments"},
		"a comment behind the NameID":        {swap(good, "u-1<", "u-1<!-- -->.evil.example.com<"), "comments"},
		"an instruction in the NameID":       {swap(good, "u-1<", "u-<?x y?>1<"), "instructions"},
		"a document type":                    {"<!DOCTYPE x>" + good, "declares types"},
		"an entity":                          {`<!DOCTYPE x [<!ENTITY e "u-1">]>` + swap(good, "u-1<", "&e;<"), "declares types"},
		"an entity from a file":              {`<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>` + swap(good, "u-1<", "&e;<"), "declares types"},
		"entities by the billion":            {`<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>` + swap(good, "u-1<", "&b;<"), "declares types"},
		"an entity that is declared nowhere": {swap(good, "u-1<", "&e;<"), "no XML"},
		"two documents":                      {good + good, "twice"},
		"another encoding":                   {`<?xml version="1.0" encoding="UTF-16"?>` + good, "no XML"},
		"an id twice":                        {swap(good, "<saml:Subject>", `<saml:Subject ID="`+l.id+`">`), "twice"},
		"no response":                        {text(t, l.assertion()), "no response"},
		"a response of nothing":              {text(t, l.envelope()), ""},
		"an encrypted assertion":             {swap(text(t, l.envelope()), "</samlp:Response>", `<saml:EncryptedAssertion/></samlp:Response>`), "encrypted"},
		"cut off":                            {good[:len(good)-20], "no XML"},
		"nested deeply":                      {strings.Repeat("<samlp:Response xmlns:samlp=\"urn:oasis:names:tc:SAML:2.0:protocol\">", 70), "deep"},
		"HMAC":                               {swap(good, dsig.ECDSASHA256SignatureMethod, "http://www.w3.org/2000/09/xmldsig#hmac-sha1"), "signed with"},
		"no signature method":                {swap(good, dsig.ECDSASHA256SignatureMethod, ""), "signed with"},
		"a digest by MD5":                    {swap(good, "http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmldsig-more#md5"), "digests"},
		"a digest by SHA-1":                  {swap(good, "http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2000/09/xmldsig#sha1"), "digests"},
		"an attribute of another namespace":  {swap(good, "<saml:NameID ", `<saml:NameID xmlns:x="urn:x" x:Format="y" `), ""},
		"another name":                       {swap(good, "u-1<", "u-2<"), ""},
		"no signature value":                 {swap(good, "</ds:SignatureValue>", "AAAA</ds:SignatureValue>"), ""},
	} {
		who, err := r.finish(t, secret, c[0])
		if !isRefused(err, c[1]) {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
	}
	if _, err := r.finish(t, secret, good); err != nil {
		t.Error("and the good one is good", err)
	}
}

func TestAFailureAtTheIdentityProviderIsTold(t *testing.T) {
	r := newRig(t, ecKey(t))
	secret := NewSecret()
	l := r.letter(secret)
	answer := swap(text(t, l.envelope()), "status:Success", "status:Responder")
	if _, err := r.finish(t, secret, answer); !isRefused(err, "Responder") {
		t.Error(err)
	}
}

func TestMetadataIsCheckedBeforeItIsTrusted(t *testing.T) {
	c := newCompany(t, ecKey(t))
	weak := newCompany(t, rsaKey(t, 1024)).idp.Metadata()
	for name, m := range map[string]struct {
		change func(*saml.EntityDescriptor)
		words  string
	}{
		"as it should be":      {func(*saml.EntityDescriptor) {}, ""},
		"no name":              {func(m *saml.EntityDescriptor) { m.EntityID = "" }, "entityID"},
		"no identity provider": {func(m *saml.EntityDescriptor) { m.IDPSSODescriptors = nil }, "one identity provider"},
		"two identity providers": {func(m *saml.EntityDescriptor) {
			m.IDPSSODescriptors = append(m.IDPSSODescriptors, m.IDPSSODescriptors[0])
		}, "describes 2"},
		"no certificate": {func(m *saml.EntityDescriptor) { m.IDPSSODescriptors[0].KeyDescriptors = nil }, "no certificate"},
		"a weak key": {func(m *saml.EntityDescriptor) {
			m.IDPSSODescriptors[0].KeyDescriptors = weak.IDPSSODescriptors[0].KeyDescriptors
		}, "1024 bits"},
		"no redirect": {func(m *saml.EntityDescriptor) { m.IDPSSODescriptors[0].SingleSignOnServices = nil }, "HTTP-Redirect"},
		"a redirect to a script": {func(m *saml.EntityDescriptor) {
			m.IDPSSODescriptors[0].SingleSignOnServices[0].Location = "javascript:alert(1)"
		}, ""},
		"a redirect without TLS": {func(m *saml.EntityDescriptor) {
			m.IDPSSODescriptors[0].SingleSignOnServices[0].Location = "http://login.example.com/sso"
		}, "https://"},
		"a redirect to somewhere": {func(m *saml.EntityDescriptor) {
			m.IDPSSODescriptors[0].SingleSignOnServices[0].Location = "https:///sso"
		}, ""},
	} {
		about := c.idp.Metadata()
		m.change(about)
		_, err := ParseMetadata(marshal(t, about))
		if ok := err == nil; ok != (name == "as it should be") || err != nil && !strings.Contains(err.Error(), m.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, b := range map[string]string{"nothing": "", "no XML": "{}", "a document type": `<!DOCTYPE x [<!ENTITY e "x">]>` + string(marshal(t, c.idp.Metadata())), "many": "<EntitiesDescriptor/>", "too large": strings.Repeat(" ", MaxMetadata+1)} {
		if _, err := ParseMetadata([]byte(b)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

func TestMetadataThatHasExpiredIsTrustedNoMore(t *testing.T) {
	r := newRig(t, ecKey(t))
	secret := NewSecret()
	about := r.company.idp.Metadata()
	about.ValidUntil = r.now.Add(time.Hour)
	m, err := ParseMetadata(marshal(t, about))
	if err != nil {
		t.Fatal(err)
	}
	r.provider.cfg.Metadata = m
	for _, at := range []time.Duration{0, 2 * time.Hour} {
		r.now = start().Add(at)
		l := r.letter(secret)
		if _, err := r.finish(t, secret, text(t, l.write(t, r.company.signer))); (err == nil) != (at == 0) {
			t.Error(at, err)
		}
	}
}

func TestTheServiceProviderSaysWhoItIs(t *testing.T) {
	r := newRig(t, ecKey(t))
	own, err := r.provider.Own(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`entityID="https://pulse.example.com/auth/acme/login/metadata"`, `Location="https://pulse.example.com/auth/acme/login/acs"`, `WantAssertionsSigned="true"`, saml.HTTPPostBinding} {
		if !strings.Contains(string(own), want) {
			t.Errorf("it says nothing of %s:\n%s", want, own)
		}
	}
	if strings.Contains(string(own), "Artifact") {
		t.Error("it offers what is not there")
	}
	if s := NewSecret(); len(s) < 26 || s == NewSecret() {
		t.Error(s)
	}
	if a, b := r.provider.requestID("a"), r.provider.requestID("b"); a == b || a != r.provider.requestID("a") || strings.Contains(r.provider.relayState("a"), fmt.Sprint(a[3:])) {
		t.Error(a, b)
	}
}
