package postgres

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"
)

type (
	// form is how the text of a type becomes a value, such as to_json gives it: what a
	// stream tells, what a range holds and what is read by key compare equal.
	form int

	// format is the form of a type, and of the elements of an array.
	format struct {
		form    form
		element form
	}
)

const (
	asText form = iota
	asNumber
	asBool
	asLocal  // timestamp without time zone
	asMoment // timestamp with time zone
	asDocument
	asList
	opaque // to_json alone knows: a composite, a type with a cast of its own
)

// formats are of PostgreSQL's own types; others are looked up.
var formats = map[uint32]format{
	16: {form: asBool}, 20: {form: asNumber}, 21: {form: asNumber}, 23: {form: asNumber}, 700: {form: asNumber}, 701: {form: asNumber}, 1700: {form: asNumber},
	114: {form: asDocument}, 3802: {form: asDocument}, 1114: {form: asLocal}, 1184: {form: asMoment},
	17: {}, 18: {}, 19: {}, 25: {}, 26: {}, 142: {}, 650: {}, 869: {}, 1042: {}, 1043: {}, 1082: {}, 1083: {}, 1186: {}, 1266: {}, 2950: {},
}

// firstOwn is the first OID that is not fixed.
const firstOwn = 16384

// formatsOf gives the formats of types, asking the database for those that nobody asked
// for before.
func (p *Postgres) formatsOf(ctx context.Context, c *pgx.Conn, types []uint32) (map[uint32]format, error) {
	found := make(map[uint32]format, len(types))
	var unknown []uint32
	p.mu.Lock()
	for _, oid := range types {
		f, ok := formats[oid]
		if !ok {
			f, ok = p.formats[oid]
		}
		if ok {
			found[oid] = f
		} else {
			unknown = append(unknown, oid)
		}
	}
	p.mu.Unlock()
	if len(unknown) == 0 {
		return found, nil
	}
	// A domain is what it is made of, as an element too.
	rows, err := c.Query(ctx, `
		with recursive base as (
			select oid as asked, oid, typtype, typbasetype from pg_type where oid = any($1)
			union all
			select b.asked, t.oid, t.typtype, t.typbasetype from base b join pg_type t on t.oid = b.typbasetype where b.typtype = 'd'
		), plain as (select asked, oid from base where typtype <> 'd'),
		element as (
			select p.asked, e.oid, e.typtype, e.typbasetype from plain p join pg_type a on a.oid = p.oid join pg_type e on e.oid = a.typelem where a.typlen = -1 and a.typcategory = 'A'
			union all
			select b.asked, t.oid, t.typtype, t.typbasetype from element b join pg_type t on t.oid = b.typbasetype where b.typtype = 'd'
		)
		select p.asked, p.oid, coalesce(e.oid, 0),
		       t.typtype = 'c' or exists (select from pg_cast where castsource = p.oid and casttarget = 114 and castmethod = 'f'),
		       coalesce(et.typtype = 'c' or et.typcategory = 'A' or et.typdelim <> ',' or exists (select from pg_cast where castsource = e.oid and casttarget = 114 and castmethod = 'f'), false)
		from plain p join pg_type t on t.oid = p.oid left join element e on e.asked = p.asked and e.typtype <> 'd' left join pg_type et on et.oid = e.oid`, unknown)
	if err != nil {
		return nil, err
	}
	var asked, oid, element uint32
	var closed, elementClosed bool
	_, err = pgx.ForEachRow(rows, []any{&asked, &oid, &element, &closed, &elementClosed}, func() error {
		f := formats[oid]
		switch {
		case closed && oid >= firstOwn, elementClosed:
			f = format{form: opaque}
		case element != 0:
			f = format{form: asList, element: formats[element].form}
		}
		found[asked] = f
		return nil
	})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, oid := range unknown {
		p.formats[oid] = found[oid]
	}
	return found, nil
}

// errValue is of a text that its type does not write.
var errValue = errors.New("a text that is none of its type")

func (f format) value(raw []byte) (any, error) {
	if raw == nil {
		return nil, nil
	}
	if f.form == asList {
		v, rest, err := f.list(skipBounds(raw))
		if err == nil && len(rest) > 0 {
			err = errValue
		}
		return v, err
	}
	return f.form.value(raw)
}

func (f form) value(raw []byte) (any, error) {
	switch f {
	case asNumber:
		if len(raw) == 0 {
			return nil, errValue
		}
		if c := raw[len(raw)-1]; c < '0' || c > '9' { // NaN, Infinity
			return string(raw), nil
		}
		return json.Number(raw), nil
	case asBool:
		return len(raw) > 0 && raw[0] == 't', nil
	case asLocal, asMoment:
		return xsd(raw, f == asMoment), nil
	case asDocument:
		return decode(raw)
	default:
		return string(raw), nil
	}
}

// xsd makes of "2026-02-28 12:00:00.5+00" what to_json does.
func xsd(raw []byte, zoned bool) string {
	at := bytes.IndexByte(raw, ' ')
	if at < 0 { // infinity
		return string(raw)
	}
	b := make([]byte, 0, len(raw)+len(":00"))
	b = append(append(append(b, raw[:at]...), 'T'), raw[at+1:]...)
	if !zoned {
		return string(b)
	}
	clock, era, past := bytes.Cut(b, []byte(" ")) // … BC
	if sign := bytes.LastIndexAny(clock, "+-"); sign > at && bytes.IndexByte(clock[sign:], ':') < 0 {
		clock = append(bytes.Clone(clock), ":00"...)
	}
	if past {
		return string(clock) + " " + string(era)
	}
	return string(clock)
}

// skipBounds leaves out the bounds of an array that does not begin at 1: "[0:1]={…".
func skipBounds(raw []byte) []byte {
	if len(raw) > 0 && raw[0] == '[' {
		if at := bytes.IndexByte(raw, '='); at >= 0 {
			return raw[at+1:]
		}
	}
	return raw
}

// list reads an array as PostgreSQL writes it.
func (f format) list(raw []byte) (v []any, rest []byte, err error) {
	if len(raw) < 2 || raw[0] != '{' {
		return nil, nil, errValue
	}
	v = []any{}
	for raw = raw[1:]; len(raw) > 0; {
		switch raw[0] {
		case '}':
			return v, raw[1:], nil
		case ',':
			raw = raw[1:]
		case '{':
			var inner []any
			if inner, raw, err = f.list(raw); err != nil {
				return nil, nil, err
			}
			v = append(v, inner)
		default:
			var text []byte
			var bare bool
			if text, bare, raw, err = element(raw); err != nil {
				return nil, nil, err
			}
			if bare && string(text) == "NULL" {
				v = append(v, nil)
				continue
			}
			one, err := f.element.value(text)
			if err != nil {
				return nil, nil, err
			}
			v = append(v, one)
		}
	}
	return nil, nil, errValue
}

func element(raw []byte) (text []byte, bare bool, rest []byte, err error) {
	if raw[0] != '"' {
		end := bytes.IndexAny(raw, ",}")
		if end < 0 {
			return nil, false, nil, errValue
		}
		return raw[:end], true, raw[end:], nil
	}
	for i := 1; i < len(raw); i++ {
		switch raw[i] {
		case '"':
			return text, false, raw[i+1:], nil
		case '\\':
			if i++; i == len(raw) {
				return nil, false, nil, errValue
			}
			text = append(text, raw[i])
		default:
			text = append(text, raw[i])
		}
	}
	return nil, false, nil, errValue
}
