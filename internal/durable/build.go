package durable

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
)

// BuildID is the version under which a worker runs workflows: the first 16 hex
// digits of the SHA-256 over the Go sources (tests left out) of what decides a
// workflow's commands, the packages workflows and contract. A commit that
// changes neither keeps the build, and open runs go on under it.
func BuildID(sources ...fs.FS) string {
	h := sha256.New()
	add := func(b []byte) {
		_ = binary.Write(h, binary.BigEndian, uint64(len(b))) // a hash never fails
		h.Write(b)
	}
	for _, source := range sources {
		err := fs.WalkDir(source, ".", func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			b, err := fs.ReadFile(source, path)
			if err != nil {
				return err
			}
			add([]byte(path))
			add(b)
			return nil
		})
		if err != nil {
			panic(fmt.Sprintf("durable: reading embedded sources: %v", err))
		}
		add(nil) // ends a source, so that files cannot move between two unnoticed
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}
