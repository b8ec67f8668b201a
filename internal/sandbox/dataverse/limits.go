package dataverse

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// The service protection limits of one user, as documented. The sandbox is one
// web server, so they hold exactly.
const (
	window         = 300 * time.Second
	maxRequests    = 6000
	maxExecution   = 1200 * time.Second
	maxConcurrent  = 52
	slots          = 60 // the sliding window moves in steps of a sixtieth
	requestsHeader = "X-Ms-Ratelimit-Burst-Remaining-Xrm-Requests"
	timeHeader     = "X-Ms-Ratelimit-Time-Remaining-Xrm-Requests"
)

type breach int

const (
	none breach = iota
	requestsExceeded
	timeExceeded
	concurrencyExceeded
)

type (
	// limits counts what each user has used. Speed shortens the window and with
	// it everything that is measured in time.
	limits struct {
		speed float64
		now   func() time.Time

		mu    sync.Mutex
		users map[string]*usage
	}

	usage struct {
		open     int
		requests [slots]int
		executed [slots]time.Duration
		epoch    int64 // of the newest slot
	}
)

func newLimits(speed float64) *limits {
	return &limits{speed: speed, now: time.Now, users: map[string]*usage{}}
}

func tooMany(b breach) *problem {
	switch b {
	case timeExceeded:
		return refuse(http.StatusTooManyRequests, "0x80072321", "Combined execution time of incoming requests exceeded limit of 1,200,000 milliseconds over time window of 300 seconds. Decrease number of concurrent requests or reduce the duration of requests and try again later.")
	case concurrencyExceeded:
		return refuse(http.StatusTooManyRequests, "0x80072326", "Number of concurrent requests exceeded the limit of 52.")
	default:
		return refuse(http.StatusTooManyRequests, "0x80072322", "Number of requests exceeded the limit of 6000 over time window of 300 seconds.")
	}
}

func (l *limits) slot() time.Duration { return time.Duration(float64(window/slots) / l.speed) }

// enter counts a request of a user, or says which limit it breaks and when to
// come back. A refused request counts too: who keeps sending waits longer.
func (l *limits) enter(user string) (b breach, after time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[user]
	if u == nil {
		u = &usage{}
		l.users[user] = u
	}
	at := u.advance(l.epoch())
	requests, executed := 0, time.Duration(0)
	for i := range slots {
		requests += u.requests[i]
		executed += u.executed[i]
	}
	u.requests[at]++
	switch {
	case requests >= maxRequests:
		return requestsExceeded, l.free(u, func(i int) bool { requests -= u.requests[i]; return requests < maxRequests })
	case float64(executed)*l.speed >= float64(maxExecution):
		return timeExceeded, l.free(u, func(i int) bool {
			executed -= u.executed[i]
			return float64(executed)*l.speed < float64(maxExecution)
		})
	case u.open >= maxConcurrent:
		return concurrencyExceeded, time.Second
	}
	u.open++
	return none, 0
}

func (l *limits) leave(user string, took time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[user]
	u.open--
	u.executed[u.advance(l.epoch())] += took
}

func (l *limits) epoch() int64 { return l.now().UnixNano() / int64(l.slot()) }

// advance clears the slots that left the window and returns the current one.
func (u *usage) advance(epoch int64) int {
	for e := max(u.epoch+1, epoch-slots+1); e <= epoch; e++ {
		u.requests[e%slots], u.executed[e%slots] = 0, 0
	}
	u.epoch = max(u.epoch, epoch)
	return int(u.epoch % slots)
}

// free is the time until enough of the oldest slots have left the window.
func (l *limits) free(u *usage, leaves func(slot int) bool) time.Duration {
	for n := int64(1); n < slots; n++ {
		if leaves(int((u.epoch + n) % slots)) {
			return time.Duration(n) * l.slot()
		}
	}
	return time.Duration(slots) * l.slot()
}

// remaining is what the debug headers say.
func (l *limits) remaining(user string) http.Header {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[user]
	requests, executed := 0, time.Duration(0)
	for i := range slots {
		requests += u.requests[i]
		executed += u.executed[i]
	}
	left := max(0, maxExecution.Seconds()-executed.Seconds()*l.speed)
	return http.Header{requestsHeader: {strconv.Itoa(max(0, maxRequests-requests))}, timeHeader: {fmt.Sprintf("%.2f", left)}}
}

func seconds(d time.Duration) string { return strconv.Itoa(max(1, int(math.Ceil(d.Seconds())))) }
