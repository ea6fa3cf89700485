package event

// attribute is a member of an event that has a meaning here; every other one is an extension.
type attribute uint8

const (
	attrExtension attribute = iota
	attrID
	attrSource
	attrType
	attrSubject
	attrTime
	attrSpecVersion
	attrData
	attrDataBase64
	attrReceivedAt
)

func attributeOf(name []byte) attribute {
	switch string(name) {
	case "id":
		return attrID
	case "source":
		return attrSource
	case "type":
		return attrType
	case "subject":
		return attrSubject
	case "time":
		return attrTime
	case "specversion":
		return attrSpecVersion
	case "data":
		return attrData
	case "data_base64":
		return attrDataBase64
	case "received_at":
		return attrReceivedAt
	}
	return attrExtension
}

// name is that of one of CloudEvents' attributes.
func (a attribute) name() string {
	return [...]string{attrID: "id", attrSource: "source", attrType: "type", attrSubject: "subject", attrTime: "time", attrSpecVersion: "specversion", attrDataBase64: "data_base64"}[a]
}

// code is that of a Problem with it.
func (a attribute) code() string {
	if a == attrDataBase64 {
		return CodeData
	}
	return "invalid_" + a.name()
}

// attributes are those that an event was given: which of the known ones, and the names of the others.
type attributes struct {
	known  uint16
	others [][]byte
	many   map[string]struct{} // has all others once there are more than few
}

// few extensions are looked through one by one.
const few = 16

func (s *attributes) begin() {
	s.known, s.others = 0, s.others[:0]
	if len(s.many) > 0 {
		clear(s.many)
	}
}

// forget gives up what is left of the last event.
func (s *attributes) forget() {
	s.begin()
	clear(s.others[:cap(s.others)])
	s.many = nil
}

func (s *attributes) has(a attribute) bool { return s.known&(1<<a) != 0 }

// add notes an attribute, and says whether it was there before.
func (s *attributes) add(a attribute, name []byte) (twice bool) {
	if a != attrExtension {
		twice = s.has(a)
		s.known |= 1 << a
		return twice
	}
	if len(s.others) < few {
		for _, other := range s.others {
			if string(other) == string(name) {
				return true
			}
		}
		s.others = append(s.others, name)
		return false
	}
	if len(s.many) == 0 {
		if s.many == nil {
			s.many = map[string]struct{}{}
		}
		for _, other := range s.others {
			s.many[string(other)] = struct{}{}
		}
	}
	_, twice = s.many[string(name)]
	s.many[string(name)] = struct{}{}
	return twice
}
