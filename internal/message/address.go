package message

import (
	"net/mail"
	"regexp"
	"strings"

	"patchbay/internal/fault"
)

var (
	local     = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*$")
	domain    = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$`)
	telephone = regexp.MustCompile(`^\+[1-9][0-9]{5,14}$`)
)

// Address checks who a message goes to: exactly one plain address of a mailbox, or
// one telephone number, and gives the form that one and the same recipient always
// has. What would be two addresses to one server and one to another is refused
// (R02): no display name, comment, quoted local part or address literal.
func Address(text string) (string, error) {
	if telephone.MatchString(text) {
		return text, nil
	}
	return Mailbox(text)
}

// Mailbox is Address without telephone numbers.
func Mailbox(text string) (string, error) {
	refuse := func(why string) (string, error) {
		return "", fault.New(fault.Rejected, "email.address", "the recipient is no plain address of one mailbox: "+why, nil)
	}
	switch {
	case text == "":
		return refuse("it is empty")
	case len(text) > 254:
		return refuse("it is longer than 254 characters")
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }):
		return refuse("it has a blank, a line break or a control character")
	case strings.ContainsFunc(text, func(r rune) bool { return r > '~' }):
		return refuse("it has a character that is not ASCII; a domain with such characters is written with xn--")
	}
	parsed, err := mail.ParseAddress(text)
	if err != nil || parsed.Name != "" || parsed.Address != text {
		return refuse("write it as name@example.com")
	}
	at := strings.LastIndexByte(text, '@')
	name, host := text[:at], strings.ToLower(text[at+1:])
	if !local.MatchString(name) || len(name) > 64 || !domain.MatchString(host) {
		return refuse("write it as name@example.com")
	}
	return name + "@" + host, nil
}
