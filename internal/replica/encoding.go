package replica

import (
	"encoding/json"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"patchbay/internal/flow"
)

type (
	// kept is a record as its rows have it.
	kept struct {
		uid, cells, ver        string
		key, id, gone, moved   *string
		version, written       *int64
		vers, baseText         []byte
		layout                 int32
		absent                 *bool // nil: nothing is pending
		ranged                 *bool // what is pending is that of a range
		baseKey, outcome, code *string
		rev, seen              *int64
		attempts               *int
		page                   *spot // nil: it has a row
	}

	// versions are those of values that are not as the record's own.
	versions struct {
		Of   map[string]string   `json:"v,omitempty"` // by place
		Held map[string][]single `json:"h,omitempty"` // all writings but the latest
		Gone map[string]string   `json:"g,omitempty"` // of values that were erased
	}

	// based is what our system holds where it is not what the registers say.
	based struct {
		Cells map[string]single `json:"c,omitempty"` // by place; empty: nothing
		Moved string            `json:"m,omitempty"`
	}

	// single is one writing.
	single struct {
		Version string `json:"v,omitempty"`
		Value   string `json:"x,omitempty"`
	}
)

func broken(what string) error {
	return fmt.Errorf("replica: what is kept of a record is not as it was written: %s", what)
}

func versionOf(v flow.Version) string { return string(encodeVersion(nil, v)) }

func singleOf(c flow.SyncCell) single {
	if c.Value == nil {
		return single{}
	}
	return single{versionOf(c.Version), string(c.Value)}
}

func (s single) cell() (c flow.SyncCell, err error) {
	if s.Value == "" {
		return c, nil
	}
	v, ok := decodeVersion(s.Version)
	if !ok {
		return c, broken("a version")
	}
	return flow.SyncCell{Value: []byte(s.Value), Version: v}, nil
}

// optional gives nil for no version.
func optional(v *flow.Version) *string {
	if v == nil {
		return nil
	}
	s := versionOf(*v)
	return &s
}

func versionFrom(s *string) (*flow.Version, error) {
	if s == nil {
		return nil, nil
	}
	v, ok := decodeVersion(*s)
	if !ok {
		return nil, broken("a version")
	}
	return &v, nil
}

// registers encodes what all regions know of a record.
func registers(r *record) (cells, ver string, vers []byte, err error) {
	var b strings.Builder
	var first flow.Version
	var more versions
	for i, c := range r.cells {
		if i > 0 {
			b.WriteString(between)
		}
		if c.Value == nil {
			if c.Version.Region != "" {
				if more.Gone == nil {
					more.Gone = map[string]string{}
				}
				more.Gone[strconv.Itoa(i)] = versionOf(c.Version)
			}
			continue
		}
		b.Write(c.Value)
		switch v := c.Version; {
		case first.Region == "":
			first = v
		case v.Stamp != first.Stamp || v.Region != first.Region || !maps.Equal(v.Seen, first.Seen):
			if more.Of == nil {
				more.Of = map[string]string{}
			}
			more.Of[strconv.Itoa(i)] = versionOf(v)
		}
		if len(r.rest[i]) > 0 {
			if more.Held == nil {
				more.Held = map[string][]single{}
			}
			list := make([]single, len(r.rest[i]))
			for j, c := range r.rest[i] {
				list[j] = singleOf(c)
			}
			more.Held[strconv.Itoa(i)] = list
		}
	}
	if first.Region != "" {
		ver = versionOf(first)
	}
	if more.Of != nil || more.Held != nil || more.Gone != nil {
		vers, err = json.Marshal(more)
	}
	return b.String(), ver, vers, err
}

// bases encodes what our system holds.
func bases(r *record) ([]byte, error) {
	var out based
	if !r.base.absent {
		for i, c := range r.base.cells {
			if v := r.cells[i]; string(c.Value) == string(v.Value) && c.Version.Stamp == v.Version.Stamp && c.Version.Region == v.Version.Region && maps.Equal(c.Version.Seen, v.Version.Seen) {
				continue
			}
			if out.Cells == nil {
				out.Cells = map[string]single{}
			}
			out.Cells[strconv.Itoa(i)] = singleOf(c)
		}
	}
	if m := r.base.moved; m != nil {
		out.Moved = versionOf(*m)
	}
	if out.Cells == nil && out.Moved == "" {
		return nil, nil
	}
	return json.Marshal(out)
}

// record decodes what is kept. places maps the layout that it is kept in.
func (k *kept) record(places []int, columns int) (*record, error) {
	r := &record{uid: k.uid, cells: make([]flow.SyncCell, columns), known: true, page: k.page}
	r.key = splitKey(k.uid)
	if k.key != nil {
		r.key = splitKey(*k.key)
	}
	if k.id != nil {
		r.id = *k.id
	}
	if k.version != nil {
		r.version = *k.version
	}
	if k.written != nil {
		r.written = *k.written
	}
	var err error
	if r.gone, err = versionFrom(k.gone); err != nil {
		return nil, err
	}
	if r.moved, err = versionFrom(k.moved); err != nil {
		return nil, err
	}
	var common flow.Version
	if k.ver != "" {
		var ok bool
		if common, ok = decodeVersion(k.ver); !ok {
			return nil, broken("a version")
		}
	}
	var more versions
	if k.vers != nil {
		if err := json.Unmarshal(k.vers, &more); err != nil {
			return nil, err
		}
	}
	for place, rest := 0, k.cells; place < len(places); place++ {
		var part string
		part, rest, _ = strings.Cut(rest, between)
		i := places[place]
		if text, erased := more.Gone[strconv.Itoa(place)]; erased && i >= 0 {
			v, err := versionFrom(&text)
			if err != nil {
				return nil, err
			}
			r.cells[i].Version = *v
		}
		if part == "" || i < 0 {
			continue
		}
		c := flow.SyncCell{Value: []byte(part), Version: common}
		if more.Of != nil || more.Held != nil {
			if err := more.of(r, place, i, &c); err != nil {
				return nil, err
			}
		}
		r.cells[i] = c
	}
	if k.absent == nil {
		return r, nil
	}
	return r, k.pending(r, places)
}

// of gives a value its version, and the record what is held beside it.
func (more *versions) of(r *record, place, i int, c *flow.SyncCell) error {
	name := strconv.Itoa(place)
	if text, other := more.Of[name]; other {
		v, ok := decodeVersion(text)
		if !ok {
			return broken("a version")
		}
		c.Version = v
	}
	for _, s := range more.Held[name] {
		held, err := s.cell()
		if err != nil {
			return err
		}
		if r.rest == nil {
			r.rest = map[int][]flow.SyncCell{}
		}
		r.rest[i] = append(r.rest[i], held)
	}
	return nil
}

// pending decodes what our system holds.
func (k *kept) pending(r *record, places []int) error {
	r.waits, r.inRange = true, k.ranged != nil && *k.ranged
	r.rev, r.seen, r.seenAs = *k.rev, *k.seen, *k.seen
	r.outcome, r.code, r.attempts = *k.outcome, *k.code, *k.attempts
	b := &base{absent: *k.absent, key: r.key, cells: make([]flow.SyncCell, len(r.cells))}
	r.base = b
	if k.baseKey != nil {
		b.key = splitKey(*k.baseKey)
	}
	if !b.absent {
		copy(b.cells, r.cells)
	}
	if k.baseText == nil {
		return nil
	}
	var of based
	if err := json.Unmarshal(k.baseText, &of); err != nil {
		return err
	}
	for place, i := range places {
		s, other := of.Cells[strconv.Itoa(place)]
		if !other || i < 0 {
			continue
		}
		c, err := s.cell()
		if err != nil {
			return err
		}
		b.cells[i] = c
	}
	if of.Moved != "" {
		m, err := versionFrom(&of.Moved)
		if err != nil {
			return err
		}
		b.moved = m
	}
	return nil
}
