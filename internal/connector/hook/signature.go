package hook

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"patchbay/internal/connector"
	"patchbay/internal/fault"
)

const (
	maxSignatures = 16
	maxID         = 256
	hintBody      = 64 << 10 // larger bodies are not serialised again to find out why they do not verify
	latestTime    = 253402300799
	secretPrefix  = "whsec_"
)

// standard proves a delivery by Standard Webhooks: v1 is HMAC-SHA256 of id, time
// and body with points between them.
func (g *Guard) standard(d connector.Delivery) (Proof, error) {
	h := http.Header(d.Header)
	given := h.Get("Webhook-Signature")
	if given == "" {
		return Proof{}, unsigned("the header webhook-signature is due")
	}
	id := h.Get("Webhook-Id")
	if !isID(id) {
		return Proof{}, fault.Invalidf("hook.id", "the header webhook-id is due: 1 to %d visible characters without a point", maxID)
	}
	at, err := g.timely(h.Get("Webhook-Timestamp"), "webhook-timestamp")
	if err != nil {
		return Proof{}, err
	}
	signatures, err := v1(given)
	if err != nil {
		return Proof{}, err
	}
	front := id + "." + h.Get("Webhook-Timestamp") + "."
	return Proof{ID: id, At: at}, g.signed(front, d.Body, standardKey, signatures)
}

// v1 reads the signatures of a header. Other versions are passed over.
func v1(header string) ([][]byte, error) {
	list := strings.Fields(header)
	if len(list) > maxSignatures {
		return nil, fault.New(fault.Unauthorized, "hook.signature", "the delivery has more than 16 signatures", nil)
	}
	var signatures [][]byte
	for _, one := range list {
		version, text, _ := strings.Cut(one, ",")
		if sum, err := base64.StdEncoding.DecodeString(text); version == "v1" && err == nil && len(sum) == sha256.Size {
			signatures = append(signatures, sum)
		}
	}
	if len(signatures) == 0 {
		return nil, fault.New(fault.Unauthorized, "hook.signature", "the delivery has no signature of version v1", nil)
	}
	return signatures, nil
}

func standardKey(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || len(key) == 0 {
		return nil, fault.New(fault.Unavailable, "hook.secret", "a secret of this hook is not whsec_ and base64", nil)
	}
	return key, nil
}

// hmac proves a delivery by a signature in a header of the sender's choice: hex
// or base64, told apart by their length.
func (g *Guard) hmac(d connector.Delivery) (Proof, error) {
	h := http.Header(d.Header)
	text := strings.TrimSpace(h.Get(g.config.Hook.Name))
	if text == "" {
		return Proof{}, unsigned("the header " + g.config.Hook.Name + " is due")
	}
	var proof Proof
	front := ""
	if g.clock != "" {
		var err error
		if proof.At, err = g.timely(h.Get(g.clock), g.clock); err != nil {
			return Proof{}, err
		}
		front = h.Get(g.clock) + "."
	}
	text, prefixed := strings.CutPrefix(text, g.prefix)
	sum, err := hex.DecodeString(text)
	if len(text) != hex.EncodedLen(sha256.Size) {
		sum, err = base64.StdEncoding.DecodeString(text)
	}
	if err != nil || len(sum) != sha256.Size || !prefixed {
		return Proof{}, fault.New(fault.Unauthorized, "hook.signature",
			"the header "+g.config.Hook.Name+" holds no HMAC-SHA256 in hex or base64, or not behind the prefix agreed", nil)
	}
	return proof, g.signed(front, d.Body, g.key, [][]byte{sum})
}

// key is what an hmac is made with.
func (g *Guard) key(secret string) ([]byte, error) {
	if !g.base64 {
		return []byte(secret), nil
	}
	key, err := base64.StdEncoding.DecodeString(secret)
	if err != nil || len(key) == 0 {
		return nil, fault.New(fault.Unavailable, "hook.secret", "a secret of this hook is not base64", nil)
	}
	return key, nil
}

// signed checks that one of the signatures is of front and body with a secret.
func (g *Guard) signed(front string, body []byte, key func(string) ([]byte, error), signatures [][]byte) error {
	verifies := func(secret string, body []byte) (bool, error) {
		k, err := key(secret)
		if err != nil {
			return false, err
		}
		sum := mac(k, front, body)
		ok := false
		for _, s := range signatures {
			ok = hmac.Equal(s, sum) || ok
		}
		return ok, nil
	}
	return g.decide(
		func(secret string) (bool, error) { return verifies(secret, body) },
		func(secret string) string {
			for _, form := range forms(body) {
				if ok, _ := verifies(secret, form); ok {
					return "it is of the same JSON in other bytes, which something on the way wrote anew: sign the raw bytes, and pass them on unchanged"
				}
			}
			return ""
		})
}

func mac(key []byte, front string, body []byte) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(front))
	m.Write(body)
	return m.Sum(nil)
}

// forms are ways in which JSON libraries write the value of a body.
func forms(body []byte) [][]byte {
	if len(body) > hintBody || !json.Valid(body) {
		return nil
	}
	var compact bytes.Buffer
	_ = json.Compact(&compact, body) // it is valid
	list := [][]byte{compact.Bytes(), append(bytes.Clone(compact.Bytes()), '\n'), spaced(compact.Bytes())}
	for _, indent := range []string{"  ", "    ", "\t"} {
		var b bytes.Buffer
		_ = json.Indent(&b, compact.Bytes(), "", indent)
		list = append(list, b.Bytes(), append(bytes.Clone(b.Bytes()), '\n'))
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) == nil {
		if sorted, err := json.Marshal(v); err == nil { // keys in order, <>& escaped
			list = append(list, sorted, spaced(sorted))
		}
	}
	return list
}

// spaced writes compact JSON with a blank after colons and commas, as Python does.
func spaced(compact []byte) []byte {
	out := make([]byte, 0, len(compact)+len(compact)/8)
	quoted := false
	for i, c := range compact {
		out = append(out, c)
		switch {
		case c == '"' && !escapedAt(compact, i):
			quoted = !quoted
		case !quoted && (c == ':' || c == ','):
			out = append(out, ' ')
		}
	}
	return out
}

func escapedAt(text []byte, i int) bool {
	n := 0
	for i--; i >= 0 && text[i] == '\\'; i-- {
		n++
	}
	return n%2 == 1
}

// timely reads a time in seconds and refuses what is too far from now.
func (g *Guard) timely(text, header string) (time.Time, error) {
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil || seconds < 0 || seconds > latestTime || strings.HasPrefix(text, "+") {
		return time.Time{}, fault.Invalidf("hook.timestamp", "the header %s is due: seconds since 1970, as a whole number", header)
	}
	at := time.Unix(seconds, 0).UTC()
	switch now := g.Now(); {
	case now.Sub(at) > Tolerance:
		return time.Time{}, fault.New(fault.Unauthorized, "hook.too_old", "the delivery was signed more than five minutes ago; sign each attempt anew, and check the clocks", nil)
	case at.Sub(now) > Tolerance:
		return time.Time{}, fault.New(fault.Unauthorized, "hook.too_new", "the delivery was signed more than five minutes from now; check the clocks", nil)
	}
	return at, nil
}

// isID refuses what could move the borders between id, time and body.
func isID(id string) bool {
	for i := range len(id) {
		if id[i] <= ' ' || id[i] > '~' || id[i] == '.' {
			return false
		}
	}
	return id != "" && len(id) <= maxID
}
