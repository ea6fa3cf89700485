package load

import "strconv"

// kind is a type of event of a vendor. In its text, $ and a letter stand for what differs: see text.
type kind struct {
	weight  float64
	source  string
	name    string // the event's type
	subject string
	id      string
	data    string
}

// kinds are types of events as vendors send them, ids and nested data included. A few make most of the load, as they do.
func kinds() []kind {
	const (
		stripe = "evt_1$S$A$I8"
		twilio = "SM$H32"
		github = "$H8-5b1c-11f0-$X4-$Y12"
		mail   = "$I8$R14"
		charge = `{"object":"charge","id":"ch_3$S$A$R8","amount":$N4,"currency":"$u","card":{"brand":"$b","country":"$c"},"status":"$p","api_version":"2026-06-30","livemode":true}`
		intent = `{"object":"payment_intent","id":"pi_3$S$A$R8","amount":$N5,"currency":"$u","payment_method_types":["card","link"],"customer":"cus_$k","api_version":"2026-06-30","livemode":true}`
		text   = `{"MessageSid":"SM$H32","From":"+1415$N4","MessageStatus":"$m","To":{"country":"$c","carrier":"$f"},"NumSegments":$1,"Price":0.00$N2}`
		build  = `{"workflow":"$w","repository":"$r","conclusion":"$o","run_number":$N5,"duration_ms":$N5,"actor":{"login":"dev-$2","type":"User"}}`
		commit = `{"ref":"refs/heads/$g","repository":"$r","commits":$1,"head":"$G32","pusher":{"name":"dev-$2"},"forced":false}`
		letter = `{"event":"$e","email":"user$k@example.com","category":["$t","transactional"],"smtp":{"response":"250 OK","attempt":$1},"sg_template":"tpl-$t","ip":"203.0.113.$2"}`
	)
	return []kind{
		{18, "stripe", "charge.succeeded", "cus_$k", stripe, charge},
		{14, "sendgrid", "mail.delivered", "user$k", mail, letter},
		{12, "twilio", "message.delivered", "+1650555$k", twilio, text},
		{10, "stripe", "payment_intent.succeeded", "cus_$k", stripe, intent},
		{8, "sendgrid", "mail.open", "user$k", mail, letter},
		{7, "stripe", "payment_intent.created", "cus_$k", stripe, intent},
		{6, "github", "workflow_run.completed", "$r", github, build},
		{5, "github", "push", "$r", github, commit},
		{5, "twilio", "message.sent", "+1650555$k", twilio, text},
		{4, "stripe", "charge.failed", "cus_$k", stripe, charge},
		{3, "sendgrid", "mail.click", "user$k", mail, letter},
		{2.5, "github", "workflow_run.requested", "$r", github, build},
		{2, "stripe", "invoice.paid", "cus_$k", stripe, intent},
		{1.5, "twilio", "message.failed", "+1650555$k", twilio, text},
		{1, "sendgrid", "mail.bounce", "user$k", mail, letter},
		{0.5, "stripe", "charge.refunded", "cus_$k", stripe, charge},
		{0.3, "stripe", "charge.dispute.created", "cus_$k", stripe, charge},
		{0.2, "github", "release.published", "$r", github, commit},
	}
}

// Types are the types of the load's events, the most frequent first.
func Types() []string {
	var names []string
	for _, k := range kinds() {
		names = append(names, k.name)
	}
	return names
}

// words are what a letter stands for: earlier ones come more often.
func words(letter byte) []string {
	switch letter {
	case 'u':
		return []string{"usd", "eur", "gbp", "jpy", "brl", "inr"}
	case 'b':
		return []string{"visa", "mastercard", "amex", "discover"}
	case 'c':
		return []string{"US", "DE", "GB", "FR", "BR", "IN", "JP", "NL", "ES", "IT", "CA", "AU"}
	case 'p':
		return []string{"succeeded", "pending", "failed"}
	case 'm':
		return []string{"delivered", "sent", "queued", "undelivered"}
	case 'f':
		return []string{"verizon", "t-mobile", "at&t", "vodafone", "telekom"}
	case 'w':
		return []string{"ci", "deploy", "nightly", "release", "lint"}
	case 'r':
		return []string{"acme/web", "acme/api", "acme/mobile", "acme/infra", "acme/docs", "acme/data"}
	case 'o':
		return []string{"success", "failure", "cancelled", "skipped"}
	case 'g':
		return []string{"main", "develop", "release-2", "fix-login", "feature-x"}
	case 'e':
		return []string{"delivered", "open", "click", "processed"}
	case 't':
		return []string{"receipt", "welcome", "reset", "digest"}
	}
	return nil
}

// dice are numbers of a seed, one after the other.
type dice struct{ state uint64 }

func (d *dice) next() uint64 {
	d.state++
	return mix(d.state)
}

// share is a number from 0 to below 1.
func (d *dice) share() float64 { return float64(d.next()>>11) / (1 << 53) }

// builder makes requests.
type builder struct {
	dice
	out   []byte
	holes []hole
	event uint16
	// tenant's part of ids, and how many customers it has
	account string
}

func (b *builder) hole(k field, n int) {
	b.holes = append(b.holes, hole{at: uint32(len(b.out)), event: b.event, kind: k, n: uint8(n)}) //nolint:gosec // requests are small
	for range n {
		b.out = append(b.out, '0')
	}
}

// text appends a template: $I $H $X $Y $G $R $N and a width, $S $T and $A, $k a customer, $1 and $2 small numbers, other letters a word.
func (b *builder) text(s string) {
	for i := 0; i < len(s); i++ {
		if s[i] != '$' {
			b.out = append(b.out, s[i])
			continue
		}
		i++
		letter, width := s[i], 0
		if k, ok := widthOf(letter); ok {
			for i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9' {
				i++
				width = width*10 + int(s[i]-'0')
			}
			b.hole(k, width)
			continue
		}
		b.letter(letter)
	}
}

// widthOf says what a letter with a width is.
func widthOf(letter byte) (field, bool) {
	switch letter {
	case 'I':
		return fieldID, true
	case 'H':
		return fieldHex, true
	case 'X':
		return fieldHigh, true
	case 'Y':
		return fieldLow, true
	case 'G':
		return fieldHash, true
	case 'R':
		return fieldRef, true
	case 'N':
		return fieldNumber, true
	}
	return 0, false
}

func (b *builder) letter(letter byte) {
	switch letter {
	case 'T':
		b.hole(fieldTime, len(timeLayout))
	case 'S':
		b.hole(fieldSecond, 6)
	case 'Q':
		b.hole(fieldSeries, 6)
	case 'A':
		b.out = append(b.out, b.account...)
	case 'k': // customers: a few order often
		b.out = append(b.out, pick4(zipfOf(b.share(), 5000))...)
	case '1':
		b.out = strconv.AppendUint(b.out, 1+b.next()%3, 10)
	case '2':
		b.out = strconv.AppendUint(b.out, 10+b.next()%90, 10)
	default:
		list := words(letter)
		b.out = append(b.out, list[zipfOf(b.share(), len(list))]...)
	}
}

func pick4(n int) []byte {
	var d [4]byte
	put10(d[:], uint64(n)) //nolint:gosec // positive
	return d[:]
}
