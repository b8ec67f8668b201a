package exchange

import (
	"maps"
	"strings"
	"sync"
)

// maxOperations bounds a Tally whatever callers make up; the rest is "other".
const maxOperations = 256

// Tally counts the calls of one system by operation: the method and the resource,
// without keys. It holds no more than that, so the lean sandbox has one too. It is
// safe for concurrent use; the zero value is empty.
type Tally struct {
	mu     sync.Mutex
	counts map[operation]int64
}

type operation struct{ method, resource string }

func (t *Tally) add(method, path string) {
	t.count(operation{method, resource(path)})
}

func (t *Tally) count(o operation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.counts == nil {
		t.counts = map[operation]int64{}
	}
	if _, known := t.counts[o]; !known && len(t.counts) >= maxOperations {
		o = operation{resource: "other"}
	}
	t.counts[o]++
}

// Add counts something that is no HTTP call, for example a command of another protocol.
func (t *Tally) Add(what string) { t.count(operation{method: what}) }

// Counts is the calls so far, for example "GET itemsV2": 12.
func (t *Tally) Counts() map[string]int64 {
	t.mu.Lock()
	counts := maps.Clone(t.counts)
	t.mu.Unlock()
	out := make(map[string]int64, len(counts))
	for o, n := range counts {
		out[strings.TrimSpace(o.method+" "+o.resource)] = n
	}
	return out
}

// Restart counts from zero.
func (t *Tally) Restart() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.counts)
}

// resource is the last segment of the path that is a name, without the key that
// may follow it. Keys that are segments of their own begin with a digit.
func resource(path string) string {
	if i := strings.IndexByte(path, '('); i >= 0 && strings.HasSuffix(path, ")") {
		path = path[:i] // a key may hold a slash
	}
	for path != "" {
		i := strings.LastIndexByte(path, '/')
		name := path[i+1:]
		if name != "" && (name[0] < '0' || name[0] > '9') {
			name, _, _ = strings.Cut(name, "(")
			return strings.Clone(name)
		}
		path = path[:max(i, 0)]
	}
	return "/"
}
