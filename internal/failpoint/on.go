//go:build failpoints

package failpoint

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Built reports whether this program has failpoints.
const Built = true

// Point is a durable action that is about to happen.
type Point struct{ name string }

// At is an action of a package or a system.
func At(of, action string) Point { return Point{of + "." + action} }

// Caller is the action of the function that called the function that calls it.
func Caller() Point {
	var pc [1]uintptr
	runtime.Callers(3, pc[:])
	frame, _ := runtime.CallersFrames(pc[:]).Next()
	return Point{short(frame.Function)}
}

var closure = regexp.MustCompile(`(\.func\d+|\.\d+|-range\d+|\[\.\.\.\])+$`)

// short makes "run.insert" of "patchbay/internal/run.(*Book).insert.func1".
func short(function string) string {
	function = closure.ReplaceAllString(function[strings.LastIndexByte(function, '/')+1:], "")
	first, _, _ := strings.Cut(function, ".")
	return first + function[strings.LastIndexByte(function, '.'):]
}

// Before is called when the action is about to happen.
func (p Point) Before() {
	control.once.Do(control.listen)
	control.mu.Lock()
	control.met[p.name]++
	control.mu.Unlock()
	p.strike(Before)
}

// Lost reports, of an action that took effect, that its answer is to be taken for
// lost.
func (p Point) Lost() bool { return p.due(Inside) == Lose }

// After is called when the action has taken effect and that is known.
func (p Point) After() { p.strike(After) }

func (p Point) strike(place Place) {
	switch p.due(place) {
	case Kill:
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // nothing happens between the signal and the end
	case Stop:
		frozen := time.Now()
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		for time.Since(frozen) < stopped { // the signal stops the threads one after the other
			runtime.Gosched()
		}
	}
}

// stopped is the least time that a process which was stopped is away.
const stopped = 100 * time.Millisecond

// due is what is to happen at a place, "" for nothing.
func (p Point) due(place Place) What {
	control.mu.Lock()
	defer control.mu.Unlock()
	o := control.armed
	if o == nil || o.Name != p.name || o.Place != place {
		return ""
	}
	if o.Nth--; o.Nth > 0 {
		return ""
	}
	control.armed = nil
	control.struck++
	return o.What
}

// control is the one of this process.
var control = &board{met: map[string]int{}}

type board struct {
	once sync.Once

	mu     sync.Mutex
	armed  *Order
	struck int
	met    map[string]int // how often each action was about to happen
}

// State is what the control tells.
type State struct {
	Struck int            `json:"struck"` // orders carried out
	Met    map[string]int `json:"met"`    // how often each action was about to happen
}

func (b *board) listen() {
	if text := os.Getenv(First); text != "" {
		var o Order
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			panic(fmt.Sprintf("%s: %v", First, err)) // a test that is armed in vain would pass
		}
		b.armed = &o
	}
	address := os.Getenv(Env)
	if address == "" {
		return
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		panic(fmt.Sprintf("%s=%s: %v", Env, address, err))
	}
	go func() { _ = http.Serve(l, b) }() //nolint:gosec // loopback, in a program made for tests
}

func (b *board) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r.Method == http.MethodPut {
		var o Order
		if err := json.NewDecoder(r.Body).Decode(&o); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		o.Nth = cmp.Or(o.Nth, 1)
		b.armed = &o
		if o.Name == "" {
			b.armed = nil
		}
	}
	_ = json.NewEncoder(w).Encode(State{Struck: b.struck, Met: maps.Clone(b.met)})
}
