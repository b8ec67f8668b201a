package config

import (
	"os"
	"regexp"
	"strings"

	"patchbay/internal/fault"
)

// reference is ${env:NAME} or ${file:PATH}.
var reference = regexp.MustCompile(`\$\{([a-z]+):([^{}]*)\}`)

// maxSecret bounds a referenced file: a secret is a line, not a document.
const maxSecret = 64 << 10

// Resolve replaces the references of a text with their values. A text without a
// reference is returned as it is. A reference that has no value is Invalid
// "secret.missing" and names the reference; an unknown kind is Invalid
// "secret.reference". Files lose their final line breaks.
func Resolve(text string) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	var failed error
	out := reference.ReplaceAllStringFunc(text, func(ref string) string {
		parts := reference.FindStringSubmatch(ref)
		value, err := resolve(parts[1], parts[2])
		if err != nil && failed == nil {
			failed = err
		}
		return value
	})
	if failed != nil {
		return "", failed
	}
	return out, nil
}

func resolve(kind, name string) (string, error) {
	switch kind {
	case "env":
		if value, ok := os.LookupEnv(name); ok && value != "" {
			return value, nil
		}
		return "", fault.Invalidf("secret.missing", "the environment variable of ${env:%s} is not set", name)
	case "file":
		info, err := os.Stat(name)
		if err != nil || !info.Mode().IsRegular() || info.Size() > maxSecret {
			return "", fault.Invalidf("secret.missing", "the file of ${file:%s} cannot be read", name)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return "", fault.New(fault.Invalid, "secret.missing", "the file of ${file:"+name+"} cannot be read", err)
		}
		if value := strings.TrimRight(string(b), "\r\n"); value != "" {
			return value, nil
		}
		return "", fault.Invalidf("secret.missing", "the file of ${file:%s} is empty", name)
	}
	return "", fault.Invalidf("secret.reference", "${%s:%s} is no reference; write ${env:NAME} or ${file:PATH}", kind, name)
}

// Variables gives the names of the environment variables that a text refers to.
func Variables(text string) []string {
	var names []string
	for _, parts := range reference.FindAllStringSubmatch(text, -1) {
		if parts[1] == "env" {
			names = append(names, parts[2])
		}
	}
	return names
}

// IsReference reports whether a text is one reference and nothing else.
func IsReference(text string) bool {
	at := reference.FindStringIndex(text)
	return at != nil && at[0] == 0 && at[1] == len(text)
}
