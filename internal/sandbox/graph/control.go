package graph

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"patchbay/internal/sandbox/content"
	"patchbay/internal/sandbox/exchange"
	"patchbay/internal/sandbox/ordered"
	"patchbay/internal/sandbox/storage"
)

// ErrPlace says that a document is asked for in a place that is none.
var ErrPlace = errors.New("a document is at /NAME, or in a folder that is there: /FOLDER/NAME")

// here is a request without a caller: the sandbox itself changes something.
func (s *System) here(tx storage.Tx) *request {
	return &request{System: s, tx: tx, c: &exchange.Call{At: time.Now().UTC()}}
}

// Change gives a file another content of a size, made of a number, and tells whoever
// subscribed. It gives the file as it is then.
func (s *System) Change(ctx context.Context, drive, id string, size int64) (now storage.Row, err error) {
	err = s.store.Write(ctx, func(tx storage.Tx) error {
		r := s.here(tx)
		library, err := byID(ctx, tx, drives, drive, true)
		if err != nil {
			return err
		}
		item, err := byID(ctx, tx, items, id, false)
		if err != nil {
			return err
		}
		if library == nil || item == nil || item["deleted"] == true {
			return content.ErrGone
		}
		parent, err := byID(ctx, tx, items, textOf(item, "parent"), false)
		if err != nil {
			return err
		}
		if err := r.remake(ctx, library, parent, item, textOf(item, "name"), size); err != nil {
			return err
		}
		now, err = byID(ctx, tx, items, id, false)
		return err
	})
	return now, err
}

func (r *request) remake(ctx context.Context, library, parent, existing storage.Row, name string, size int64) error {
	generator := intOf(library, "seq") + 1000
	a, err := r.settle(ctx, library, parent, existing, name, "replace", incoming{generator: generator, size: size, hash: hashOf(generator, size), mime: mimeOf("", name)})
	if err == nil && a.Status >= 400 {
		err = ErrPlace
	}
	return err
}

// find is the folder of a path in the first library, and the document there, if any.
func (r *request) find(ctx context.Context, path string) (parent, item storage.Row, name string, err error) {
	names := strings.Split(strings.Trim(path, "/"), "/")
	if item, err = byID(ctx, r.tx, items, rootOf(libraries[0].id), false); err != nil {
		return nil, nil, "", err
	}
	for _, name = range names {
		if parent = item; parent == nil || name == "" {
			return nil, nil, "", ErrPlace
		}
		if item, err = r.childOf(ctx, parent, name); err != nil {
			return nil, nil, "", err
		}
	}
	if item != nil && item["folder"] == true {
		return nil, nil, "", ErrPlace
	}
	return parent, item, name, nil
}

// Put makes a document of a size at a path of the first library, or gives the one that is
// there another content.
func (s *System) Put(ctx context.Context, path string, size int64) error {
	err := s.store.Write(ctx, func(tx storage.Tx) error {
		r := s.here(tx)
		library, err := byID(ctx, tx, drives, libraries[0].id, true)
		if err != nil {
			return err
		}
		parent, item, name, err := r.find(ctx, path)
		if err != nil {
			return err
		}
		return r.remake(ctx, library, parent, item, name, size)
	})
	if err != nil {
		return fmt.Errorf("putting a document: %w", err)
	}
	return nil
}

// Look tells of the document at a path what is stored there; nil: there is none.
func (s *System) Look(ctx context.Context, path string) (*ordered.Object, error) {
	var item storage.Row
	err := s.store.Read(ctx, func(tx storage.Tx) (err error) {
		_, item, _, err = s.here(tx).find(ctx, path)
		return err
	})
	if err != nil || item == nil {
		return nil, err
	}
	sum := sha256.New()
	if err := send(ctx, s.store, item, 0, intOf(item, "size"), sum); err != nil {
		return nil, err
	}
	return ordered.New("id", item["id"], "name", item["name"], "size", item["size"], "eTag", eTag(item), "versions", item["content_version"], "quickXorHash", item["hash"],
		"sha256", hex.EncodeToString(sum.Sum(nil))), nil
}

// Reauthorize has every subscription asked to be authorized anew.
func (s *System) Reauthorize(ctx context.Context) error {
	err := s.store.Write(ctx, func(tx storage.Tx) error {
		rows, err := tx.Find(ctx, subscriptions, storage.Query{})
		if err != nil {
			return err
		}
		for _, row := range rows {
			if err := s.here(tx).tell(ctx, row, row["lifecycle"], ordered.New("lifecycleEvent", "reauthorizationRequired")); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("asking for authorization: %w", err)
	}
	return nil
}
