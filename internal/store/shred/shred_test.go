package shred

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pulsestream/pulsestream/internal/store/column"
)

// vendorLike is a block as a tenant's may be: several types of events one after the other, each with a few shapes, about 250
// bytes of JSON each.
func vendorLike(n int) [][]byte {
	r := rand.New(rand.NewPCG(5, 6))
	docs := make([][]byte, n)
	for i := range docs {
		switch i * 5 / n {
		case 0:
			docs[i] = fmt.Appendf(nil, `{"object":"charge","amount":%d,"currency":"usd","country":"%s","status":"%s","attempt":%d,"card":{"brand":"%s","last4":"%04d","exp_year":%d},"balance_transaction":"txn_%016x","livemode":true,"captured":%v}`,
				100+r.IntN(20_000), pick(r, "US", "DE", "FR", "GB", "BR", "IN", "JP", "NL"), pick(r, "succeeded", "succeeded", "succeeded", "failed"), 1+r.IntN(3), pick(r, "visa", "mastercard", "amex"), r.IntN(200), 2030+r.IntN(5), r.Uint64(), r.IntN(9) > 0)
		case 1:
			docs[i] = fmt.Appendf(nil, `{"object":"payment_intent","amount":%d,"currency":"%s","customer":"cus_%d","description":%s,"receipt_email":%s,"status":"%s","latest_charge":"ch_%016x","created":%d,"livemode":true,"metadata":{"order_id":"%d","plan":"%s"}}`,
				100+r.IntN(20_000), pick(r, "usd", "eur"), r.IntN(5000), pick(r, "null", `"Subscription update"`, `"Subscription creation"`), pick(r, "null", `"someone@example.com"`), pick(r, "succeeded", "requires_action"), r.Uint64(), 1_790_000_000+i/3, 700_000+i, pick(r, "pro", "team", "free"))
		case 2:
			docs[i] = fmt.Appendf(nil, `{"MessageSid":"SM%016x","MessageStatus":"%s","To":"+1555%07d","From":"+15550001111","ErrorCode":%s,"NumSegments":"%d","Price":%s,"Direction":"outbound-api","Country":"%s","Carrier":"%s","LatencyMs":%d}`,
				r.Uint64(), pick(r, "delivered", "delivered", "sent", "undelivered"), r.IntN(10_000), pick(r, "null", "30003", "30005"), 1+r.IntN(2), pick(r, "-0.0075", "-0.0079", "null"), pick(r, "US", "CA", "MX"), pick(r, "Verizon", "AT&T", "T-Mobile"), r.IntN(4000))
		case 3:
			docs[i] = fmt.Appendf(nil, `{"action":"completed","workflow_run":{"id":%d,"name":"%s","head_branch":"%s","conclusion":"%s","run_attempt":%d,"head_sha":"%016x"},"repository":{"id":%d,"full_name":"acme/%s","private":true},"sender":{"login":"%s"},"duration_ms":%d}`,
				9_000_000_000+i*3, pick(r, "CI", "Deploy"), pick(r, "main", "main", "develop", "release/2.1"), pick(r, "success", "success", "failure"), 1+r.IntN(2), r.Uint64(), 1000+r.IntN(5), pick(r, "api", "web", "infra", "docs"), pick(r, "ann", "bob", "cara"), r.IntN(900_000))
		default:
			if r.IntN(4) == 0 {
				docs[i] = fmt.Appendf(nil, `{"event":"bounce","email":"user%d@example.org","sg_message_id":"%016x","reason":"550 mailbox unavailable","type":"%s","status":"5.1.1","category":["%s","transactional"],"timestamp":%d,"attempt":"%d"}`,
					r.IntN(3000), r.Uint64(), pick(r, "bounce", "blocked"), pick(r, "welcome", "receipt"), 1_790_000_000+i/3, r.IntN(4))
				continue
			}
			docs[i] = fmt.Appendf(nil, `{"event":"%s","email":"user%d@example.org","sg_message_id":"%016x","useragent":"%s","ip":"10.%d.%d.7","category":["%s","transactional"],"timestamp":%d,"url":"https://example.com/offers/%d"}`,
				pick(r, "open", "click", "delivered"), r.IntN(3000), r.Uint64(), pick(r, "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)", "Mozilla/5.0 (Windows NT 10.0; Win64; x64)", "Mozilla/5.0 (iPhone)"), r.IntN(4), r.IntN(250), pick(r, "welcome", "receipt"), 1_790_000_000+i/3, r.IntN(40))
		}
	}
	return docs
}

func pick(r *rand.Rand, of ...string) string { return of[r.IntN(len(of))] }

// check shreds docs and reads them back in every way.
func check(t testing.TB, docs [][]byte) []byte {
	t.Helper()
	b := NewEncoder().Append([]byte("before"), docs)[6:]
	var r Reader
	if err := r.Reset(b, len(docs)); err != nil {
		t.Fatal(err)
	}
	var all column.Texts
	if err := r.Docs(&all, 0, r.Len()); err != nil {
		t.Fatal(err)
	}
	for i, want := range docs {
		one, err := r.Doc(nil, i)
		if err != nil {
			t.Fatal(err)
		}
		if got := all.At(i); !bytes.Equal(got, want) || (got == nil) != (want == nil) || !bytes.Equal(one, want) {
			t.Fatalf("row %d is\n%q, alone\n%q, want\n%q", i, got, one, want)
		}
	}
	for _, part := range [][2]int{{0, len(docs) / 3}, {len(docs) / 3, len(docs) / 2}, {len(docs) / 2, len(docs)}, {len(docs), len(docs)}} {
		if err := r.Reset(b, len(docs)); err != nil {
			t.Fatal(err)
		}
		if err := r.Docs(&all, part[0], part[1]); err != nil || all.Len() != part[1]-part[0] {
			t.Fatalf("rows %v are %d, %v", part, all.Len(), err)
		}
		for i, want := range docs[part[0]:part[1]] {
			if got := all.At(i); !bytes.Equal(got, want) || (got == nil) != (want == nil) {
				t.Fatalf("row %d of %v is\n%q, want\n%q", i, part, got, want)
			}
		}
	}
	return b
}

func TestVendorLikeTextsReadBackAndAreSmall(t *testing.T) {
	docs := vendorLike(8192)
	total := 0
	for _, d := range docs {
		total += len(d)
	}
	b := check(t, docs)
	size := float64(len(b)) / float64(len(docs))
	t.Logf("%.2f bytes an event of %.0f", size, float64(total)/float64(len(docs)))
	if size > 20 {
		t.Errorf("%.2f bytes an event, want at most 20", size)
	}
}

func TestOfTheTextsOfSomeRowsOnlyWhatTheyHaveIsDecoded(t *testing.T) {
	var docs [][]byte
	for i := range 200 {
		docs = append(docs, fmt.Appendf(nil, `{"a":%d}`, i))
	}
	for i := range 200 {
		docs = append(docs, fmt.Appendf(nil, `{"b":%d}`, i))
	}
	var r Reader
	if err := r.Reset(NewEncoder().Append(nil, docs), len(docs)); err != nil {
		t.Fatal(err)
	}
	if len(r.slots) != 2 {
		t.Fatalf("%d slots", len(r.slots))
	}
	r.slots[r.shapes[r.rows[200]-rowShapes].first].src = []byte("damage")
	var all column.Texts
	if err := r.Docs(&all, 0, 200); err != nil || string(all.At(199)) != `{"a":199}` {
		t.Errorf("the first half: %v", err)
	}
	if err := r.Docs(&all, 0, 201); !errors.Is(err, column.ErrCorrupt) {
		t.Errorf("with one more: %v", err)
	}
}
