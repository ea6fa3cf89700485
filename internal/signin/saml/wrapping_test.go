package saml

import (
	"encoding/xml"
	"testing"

	"github.com/beevik/etree"
	"github.com/crewjam/saml"
)

func marshal(t *testing.T, m *saml.EntityDescriptor) []byte {
	t.Helper()
	b, err := xml.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The eight ways of Somorovsky et al., "On Breaking SAML: Be Whoever You Want to Be", USENIX Security 2012, to leave a signature valid and have something
// else read: each puts the signed original where a verifier finds it by its id, and a forged one where a reader looks. response and assertion are signed;
// evil is a copy that says another name.
func wrappings() map[string]func(response *etree.Element) *etree.Element {
	return map[string]func(*etree.Element) *etree.Element{
		"XSW1: the signed response inside the forged one's signature": func(original *etree.Element) *etree.Element {
			evil, signature := forgedResponse(original)
			signature.AddChild(withoutSignature(original))
			evil.AddChild(signature)
			return evil
		},
		"XSW2: the signed response beside its signature": func(original *etree.Element) *etree.Element {
			evil, signature := forgedResponse(original)
			evil.AddChild(withoutSignature(original))
			evil.AddChild(signature)
			return evil
		},
		"XSW3: the forged assertion before the signed one": func(original *etree.Element) *etree.Element {
			response := original.Copy()
			response.InsertChildAt(assertionOf(response).Index(), forged(assertionOf(response)))
			return response
		},
		"XSW4: the signed assertion inside the forged one": func(original *etree.Element) *etree.Element {
			response := original.Copy()
			signed := assertionOf(response)
			evil := forged(signed)
			response.RemoveChild(signed)
			evil.AddChild(signed)
			response.AddChild(evil)
			return response
		},
		"XSW5: the forged assertion has the signature, the signed one follows": func(original *etree.Element) *etree.Element {
			response := original.Copy()
			signed := assertionOf(response)
			signature := signatureOf(signed)
			evil := forged(signed)
			signed.RemoveChild(signature)
			evil.AddChild(signature)
			response.InsertChildAt(signed.Index(), evil)
			return response
		},
		"XSW6: the signed assertion inside the forged one's signature": func(original *etree.Element) *etree.Element {
			response := original.Copy()
			signed := assertionOf(response)
			signature := signatureOf(signed)
			evil := forged(signed)
			signed.RemoveChild(signature)
			response.RemoveChild(signed)
			signature.AddChild(signed)
			evil.AddChild(signature)
			response.AddChild(evil)
			return response
		},
		"XSW7: the forged assertion among extensions": func(original *etree.Element) *etree.Element {
			response := original.Copy()
			extensions := etree.NewElement("samlp:Extensions")
			extensions.AddChild(forged(assertionOf(response)))
			response.InsertChildAt(assertionOf(response).Index(), extensions)
			return response
		},
		"XSW8: the signed assertion inside an object of the signature": func(original *etree.Element) *etree.Element {
			response := original.Copy()
			signed := assertionOf(response)
			signature := signatureOf(signed)
			evil := forged(signed)
			signed.RemoveChild(signature)
			response.RemoveChild(signed)
			object := etree.NewElement("ds:Object")
			object.AddChild(signed)
			signature.AddChild(object)
			evil.AddChild(signature)
			response.AddChild(evil)
			return response
		},
		"the forged assertion by the signed one's id": func(original *etree.Element) *etree.Element {
			response := original.Copy()
			evil := forged(assertionOf(response))
			evil.CreateAttr("ID", assertionOf(response).SelectAttrValue("ID", ""))
			response.InsertChildAt(assertionOf(response).Index(), evil)
			return response
		},
		"two signatures": func(original *etree.Element) *etree.Element {
			response := original.Copy()
			a := assertionOf(response)
			a.AddChild(signatureOf(a).Copy())
			a.FindElement("./Subject/NameID").SetText("evil")
			return response
		},
	}
}

func assertionOf(response *etree.Element) *etree.Element { return response.SelectElement("Assertion") }
func signatureOf(e *etree.Element) *etree.Element        { return e.SelectElement("Signature") }

// forged is an assertion without a signature that says another name.
func forged(a *etree.Element) *etree.Element {
	evil := withoutSignature(a)
	evil.CreateAttr("ID", "evil")
	evil.FindElement("./Subject/NameID").SetText("evil")
	return evil
}

func withoutSignature(e *etree.Element) *etree.Element {
	c := e.Copy()
	if s := signatureOf(c); s != nil {
		c.RemoveChild(s)
	}
	return c
}

// forgedResponse is a response without signatures whose assertion says another name, and the signature of the original, or of its assertion.
func forgedResponse(original *etree.Element) (evil, signature *etree.Element) {
	evil = withoutSignature(original)
	evil.CreateAttr("ID", "evil-response")
	if signature = signatureOf(original); signature == nil {
		signature = signatureOf(assertionOf(original))
	}
	a := assertionOf(evil)
	evil.RemoveChild(a)
	evil.AddChild(forged(a))
	return evil, signature.Copy()
}

func TestNoWrappingOfASignatureMakesAForgedNameRead(t *testing.T) {
	r := newRig(t, ecKey(t))
	for name, wrap := range wrappings() {
		for _, whole := range []bool{false, true} {
			secret := NewSecret()
			l := r.letter(secret)
			l.whole = whole
			signed := l.write(t, r.company.signer)
			if whole && signatureOf(assertionOf(signed)) == nil { // what is wrapped is the assertion's signature: have it signed too
				if _, needs := map[string]bool{"XSW1": true, "XSW2": true, "XSW3": true, "XSW7": true}[name[:4]]; !needs {
					a := assertionOf(signed)
					signed.RemoveChild(a)
					signed.AddChild(sign(t, r.company.signer, "", a))
				}
			}
			attack := text(t, wrap(signed))
			if who, err := r.finish(t, secret, attack); !isRefused(err, "") {
				t.Errorf("%s (whole: %v): %+v, %v", name, whole, who, err)
			}
			// The reader behind the first look is not fooled either.
			if a, err := r.provider.library(t.Context()).ParseXMLResponse([]byte(attack), []string{r.provider.requestID(secret)}, r.provider.acs); err == nil && a.Subject.NameID.Value != "u-1" {
				t.Errorf("%s (whole: %v): the library reads %q", name, whole, a.Subject.NameID.Value)
			}
		}
	}
}

func FuzzAnAnswerThatNobodySignedIsRefused(f *testing.F) {
	for _, s := range []string{"", "<a/>", `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol"/>`, `<?xml version="1.0"?><!DOCTYPE a><a/>`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r := &rig{now: start(), once: &memory{used: map[string]bool{}}}
		r.provider = &Provider{cfg: Config{Base: base, Metadata: &Metadata{&saml.EntityDescriptor{EntityID: "x"}}, Once: r.once, Now: start}}
		if who, err := r.finish(t, "secret", s); err == nil {
			t.Errorf("%q is %+v", s, who)
		}
	})
}
