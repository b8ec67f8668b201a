package connector

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"patchbay/internal/fault"
)

// Advance returns the token of the page that follows the one read with token,
// where next is the system's own continuation, or "" after the last page.
//
// A system that sends a reader in circles would keep it busy for ever and fill
// the store. Tokens therefore carry one earlier continuation as a hash, renewed
// at pages 1, 2, 4, 8, …: any circle is found before twice its length is read
// again (Brent), and a token never grows. The fault is vendor.page-loop.
func (t *Transport) Advance(token, next string) (string, error) {
	if next == "" {
		return "", nil
	}
	page, mark := uint64(0), uint64(0)
	if token != "" {
		var err error
		if page, mark, _, err = parseToken(token); err != nil {
			return "", err
		}
	}
	hash := fnv.New64a()
	hash.Write([]byte(next))
	now := hash.Sum64()
	if page > 0 && now == mark {
		return "", t.PageLoop()
	}
	if page++; page&(page-1) == 0 {
		mark = now
	}
	return fmt.Sprintf("%d.%016x.%s", page, mark, next), nil
}

// Continuation returns the system's own continuation out of a token of Advance.
func Continuation(token string) (string, error) {
	_, _, next, err := parseToken(token)
	return next, err
}

// PageLoop is the fault of a system whose next page is one that was read before.
func (t *Transport) PageLoop() *fault.Fault {
	return fault.New(fault.Bug, "vendor.page_loop", t.config.Name+" leads from page to page in a circle", nil)
}

// BadToken is the fault of a page token that this connector did not make.
func BadToken() *fault.Fault {
	return fault.Invalidf("connector.page_token", "the page token is not one that this connector gave")
}

func parseToken(token string) (page, mark uint64, next string, err error) {
	parts := strings.SplitN(token, ".", 3)
	if len(parts) != 3 || parts[2] == "" {
		return 0, 0, "", BadToken()
	}
	page, err = strconv.ParseUint(parts[0], 10, 63)
	if err != nil {
		return 0, 0, "", BadToken()
	}
	mark, err = strconv.ParseUint(parts[1], 16, 64)
	if err != nil {
		return 0, 0, "", BadToken()
	}
	return page, mark, parts[2], nil
}
