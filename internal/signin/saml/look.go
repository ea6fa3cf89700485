package saml

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"slices"
)

// Bounds of a response.
const (
	maxResponse = 256 << 10
	maxDepth    = 64
)

const (
	assertionSpace = "urn:oasis:names:tc:SAML:2.0:assertion"
	protocolSpace  = "urn:oasis:names:tc:SAML:2.0:protocol"
	signatureSpace = "http://www.w3.org/2000/09/xmldsig#"
)

// methods are the algorithms that signatures may use: RSA and ECDSA with SHA-2.
func methods() []string {
	return []string{
		"http://www.w3.org/2001/04/xmldsig-more#rsa-sha256", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha384", "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
		"http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha256", "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384", "http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha512",
	}
}

// digests are the algorithms of digests.
func digests() []string {
	return []string{"http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmldsig-more#sha384", "http://www.w3.org/2001/04/xmlenc#sha512"}
}

// look refuses what no identity provider sends and what has fooled readers of SAML: declarations of types and entities, comments and instructions (which
// split a text in two), a second response or assertion, an id that is there twice, weak algorithms. It believes nothing: what is let through is verified next.
func look(b []byte) error {
	s := scan{ids: map[string]bool{}}
	if len(b) > maxResponse {
		return refused("it has more than %d bytes", maxResponse)
	}
	d := xml.NewDecoder(bytes.NewReader(b))
	for first := true; ; first = false {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return s.end()
		}
		if err != nil {
			return refused("it is no XML: %v", err)
		}
		switch t := t.(type) {
		case xml.Directive:
			return refused("it declares types or entities")
		case xml.Comment:
			return refused("it has comments")
		case xml.ProcInst:
			if t.Target != "xml" || !first {
				return refused("it has processing instructions")
			}
		case xml.StartElement:
			if err := s.element(t); err != nil {
				return err
			}
		case xml.EndElement:
			s.depth--
		}
	}
}

// scan is what was seen of a response.
type scan struct {
	depth, responses, assertions int
	ids                          map[string]bool
}

func (s *scan) element(e xml.StartElement) error {
	isResponse := e.Name == xml.Name{Space: protocolSpace, Local: "Response"}
	switch s.depth++; {
	case s.depth > maxDepth:
		return refused("it is nested too deeply")
	case s.depth == 1 && !isResponse:
		return refused("it is no response")
	case e.Name.Local == "Response":
		s.responses++
	case e.Name.Local == "EncryptedAssertion":
		return refused("its assertion is encrypted: switch that off at the identity provider; it travels by TLS")
	case e.Name.Local == "Assertion":
		s.assertions++
		if s.depth != 2 || e.Name.Space != assertionSpace {
			return refused("its assertion is not where one belongs")
		}
	case e.Name.Local == "SignatureMethod" && !slices.Contains(methods(), algorithm(e)):
		return refused("it is signed with %q, and has to be with RSA or ECDSA and SHA-256 or better", algorithm(e))
	case e.Name.Local == "DigestMethod" && e.Name.Space == signatureSpace && !slices.Contains(digests(), algorithm(e)):
		return refused("it has digests by %q, and has to have SHA-256 or better", algorithm(e))
	}
	for _, a := range e.Attr {
		if a.Name.Local != "ID" && a.Name.Local != "Id" && a.Name.Local != "id" {
			continue
		}
		if s.ids[a.Value] {
			return refused("it has the id %q twice", a.Value)
		}
		s.ids[a.Value] = true
	}
	return nil
}

// end judges the whole. A response with a status that says why there is no assertion is left to who reads that.
func (s *scan) end() error {
	if s.responses != 1 || s.assertions > 1 {
		return refused("it has %d responses and %d assertions, and one of each is right", s.responses, s.assertions)
	}
	return nil
}

func algorithm(e xml.StartElement) string {
	for _, a := range e.Attr {
		if a.Name.Local == "Algorithm" {
			return a.Value
		}
	}
	return ""
}
