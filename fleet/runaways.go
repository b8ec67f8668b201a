package fleet

import "sync"

// runaways counts the functions that go on in this process although their time is over.
// Each takes a processor from those that are worth it, and nothing but the end of the process
// ends it for sure; some end by themselves, late.
type runaways struct {
	most int           // that the process bears; negative: any number
	over chan struct{} // closed once there were more

	mu   sync.Mutex
	left int
	once sync.Once
}

func newRunaways(most int) *runaways { return &runaways{most: most, over: make(chan struct{})} }

// watched is one function.
type watched struct {
	of         *runaways
	left, done bool
}

func (r *runaways) watch() *watched { return &watched{of: r} }

// leave counts that the function was left behind.
func (w *watched) leave() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	if w.done {
		return
	}
	w.left = true
	if w.of.left++; w.of.most >= 0 && w.of.left > w.of.most {
		w.of.once.Do(func() { close(w.of.over) })
	}
}

// ended counts that it has ended after all.
func (w *watched) ended() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	w.done = true
	if w.left {
		w.of.left--
	}
}
