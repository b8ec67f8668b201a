package mail

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"patchbay/internal/sandbox/record"
	"patchbay/internal/sandbox/storage"
)

// System is the name under which the record and the faults have it.
const System = "mail"

// Box is the table of the mails.
var Box = storage.NewTable(storage.Table{
	Schema: "sandbox", Name: "mail",
	Columns: []storage.Column{
		{Name: "n", Kind: storage.Int}, {Name: "at", Kind: storage.Time}, {Name: "message_id"}, {Name: "sender"}, {Name: "recipients"},
		{Name: "subject"}, {Name: "text"}, {Name: "html"}, {Name: "source", Kind: storage.Bytes},
	},
	Primary: []string{"n"},
})

type (
	// Mail is one that was taken. ID is its Message-ID, with the brackets; To is who
	// the envelope names, not the header.
	Mail struct {
		N       int64     `json:"n"`
		At      time.Time `json:"at"`
		ID      string    `json:"id"`
		From    string    `json:"from"`
		To      []string  `json:"to"`
		Subject string    `json:"subject"`
		Text    string    `json:"text"`
		HTML    string    `json:"html"`

		source []byte
	}

	// Options of a Drop. Book and Count may be nil.
	Options struct {
		Store storage.Store
		Book  *record.Book
		Count func(what string) // told of every command and of every mail
		Speed float64
		Log   *zap.Logger
	}

	// Drop is the mail server. It is safe for concurrent use.
	Drop struct {
		Options
		Faults Board

		limit limit
		tls   *tls.Config
		root  []byte

		mu   sync.Mutex // held while a mail is stored: n has no gaps
		last int64
	}
)

// New opens the drop on a store that has its table.
func New(ctx context.Context, o Options) (*Drop, error) {
	d := &Drop{Options: o, limit: limit{window: time.Duration(float64(time.Minute) / max(o.Speed, 1e-3))}}
	if d.Count == nil {
		d.Count = func(string) {}
	}
	if err := d.certify(); err != nil {
		return nil, err
	}
	err := d.Store.Read(ctx, func(tx storage.Tx) error {
		rows, err := tx.Find(ctx, Box, storage.Query{Order: []storage.Order{{Column: "n", Desc: true}}, Limit: 1, Omit: []string{"source"}})
		if err == nil && len(rows) > 0 {
			d.last, _ = rows[0]["n"].(int64)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening the mail drop: %w", err)
	}
	return d, nil
}

// certify makes the certificate for STARTTLS. It is nobody's but this process's.
func (d *Drop) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	now := time.Now()
	about := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "Patchbay sandbox"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		DNSNames: []string{"localhost", "sandbox"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	d.tls = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
	d.root = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return nil
}

// Certificate is what a client that wants TLS has to trust, in PEM form.
func (d *Drop) Certificate() []byte { return d.root }

// Limit is how many mails a minute are taken; 0 is all.
func (d *Drop) Limit() int { return d.limit.get() }

// SetLimit changes it, and begins to count anew.
func (d *Drop) SetLimit(perMinute int) { d.limit.set(perMinute) }

// Restart numbers from the beginning, after the table was emptied.
func (d *Drop) Restart() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = 0
	d.Faults.Put()
	d.limit.set(0)
}

// keep stores a mail, and its entry in the record, in one transaction.
func (d *Drop) keep(ctx context.Context, m Mail, e record.Entry) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	m.N = d.last + 1
	err := d.note(e, func(e *record.Entry) error {
		return d.Store.Write(ctx, func(tx storage.Tx) error {
			if err := d.write(ctx, tx, e); err != nil {
				return err
			}
			return tx.Insert(ctx, Box, storage.Row{"n": m.N, "at": m.At, "message_id": m.ID, "sender": m.From, "recipients": joined(m.To),
				"subject": m.Subject, "text": m.Text, "html": m.HTML, "source": m.source})
		})
	})
	if err != nil {
		return fmt.Errorf("storing a mail: %w", err)
	}
	d.last = m.N
	return nil
}

// noted puts an entry into the record that has no effect beside it.
func (d *Drop) noted(ctx context.Context, e record.Entry) {
	err := d.note(e, func(e *record.Entry) error {
		return d.Store.Write(ctx, func(tx storage.Tx) error { return d.write(ctx, tx, e) })
	})
	if err != nil {
		d.Log.Error("recording a mail that was refused", zap.Error(err))
	}
}

func (d *Drop) note(e record.Entry, commit func(*record.Entry) error) error {
	if d.Book != nil {
		d.Book.Number(&e)
		defer d.Book.Done(&e)
	}
	return commit(&e)
}

func (d *Drop) write(ctx context.Context, tx storage.Tx, e *record.Entry) error {
	if d.Book == nil {
		return nil
	}
	return d.Book.Write(ctx, tx, e)
}

// Since gives up to limit mails with a number above since, oldest first, to one
// recipient where to is not empty.
func (d *Drop) Since(ctx context.Context, since int64, to string, limit int) ([]Mail, error) {
	where := storage.And{storage.Compare{Column: "n", Op: storage.Gt, Value: since}}
	if to != "" {
		where = append(where, storage.Compare{Column: "recipients", Op: storage.Eq, Value: joined([]string{to})})
	}
	return d.find(ctx, storage.Query{Where: where, Limit: limit, Omit: []string{"source"}})
}

// Latest gives the newest mails, newest first.
func (d *Drop) Latest(ctx context.Context, to string, limit int) ([]Mail, error) {
	q := storage.Query{Order: []storage.Order{{Column: "n", Desc: true}}, Limit: limit, Omit: []string{"source"}}
	if to != "" {
		q.Where = storage.Compare{Column: "recipients", Op: storage.Eq, Value: joined([]string{to})}
	}
	return d.find(ctx, q)
}

// Size is how many mails there are.
func (d *Drop) Size() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.last
}

func (d *Drop) find(ctx context.Context, q storage.Query) ([]Mail, error) {
	list := []Mail{}
	err := d.Store.Read(ctx, func(tx storage.Tx) error {
		rows, err := tx.Find(ctx, Box, q)
		list = list[:0]
		for _, row := range rows {
			text := func(name string) string { s, _ := row[name].(string); return s }
			m := Mail{ID: text("message_id"), From: text("sender"), To: split(text("recipients")), Subject: text("subject"), Text: text("text"), HTML: text("html")}
			m.N, _ = row["n"].(int64)
			m.At, _ = row["at"].(time.Time)
			list = append(list, m)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the mails: %w", err)
	}
	return list, nil
}
