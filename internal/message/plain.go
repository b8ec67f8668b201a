package message

import (
	"html"
	"strings"
)

// unseen are elements whose content is no text for a reader.
var unseen = []string{"head", "style", "script", "title", "template"}

// breaking are elements that stand on lines of their own.
var breaking = map[string]string{
	"br": "\n", "tr": "\n", "li": "\n- ", "div": "\n", "table": "\n\n", "ul": "\n", "ol": "\n", "hr": "\n\n",
	"p": "\n\n", "h1": "\n\n", "h2": "\n\n", "h3": "\n\n", "h4": "\n\n", "blockquote": "\n\n", "td": " ", "th": " ",
}

// plain is what a reader without HTML gets of a message that has no text of its
// own: words, line breaks, and the addresses of links.
func plain(source string) string {
	var out strings.Builder
	var link string
	for source != "" {
		text, rest, tag := strings.Cut(source, "<")
		out.WriteString(words(text))
		if !tag {
			break
		}
		inner, after := cutTag(rest)
		source = after
		name, attributes := tagName(inner)
		closing := strings.HasPrefix(name, "/")
		name = strings.TrimPrefix(name, "/")
		for _, u := range unseen {
			if name == u && !closing && !strings.HasSuffix(inner, "/") {
				source = afterElement(source, u)
			}
		}
		switch {
		case name == "a" && !closing:
			link = attribute(attributes, "href")
		case name == "a" && link != "":
			out.WriteString(" (" + link + ")")
			link = ""
		case closing && (name == "li" || name == "td" || name == "th"):
		case breaking[name] == "\n" && name != "br" && strings.HasSuffix(out.String(), "\n"): // on a line of its own already
		default:
			out.WriteString(breaking[name])
		}
	}
	return tidy(out.String())
}

// words is text between tags, its white space as HTML reads it.
func words(text string) string {
	if text == "" {
		return ""
	}
	joined := strings.Join(strings.Fields(text), " ")
	if strings.ContainsRune(" \t\r\n", rune(text[0])) {
		joined = " " + joined
	}
	if strings.ContainsRune(" \t\r\n", rune(text[len(text)-1])) && strings.TrimSpace(joined) != "" {
		joined += " "
	}
	return html.UnescapeString(joined)
}

// cutTag gives what is between "<" and its ">", which may stand in a quoted value.
func cutTag(rest string) (inner, after string) {
	if comment, ok := strings.CutPrefix(rest, "!--"); ok {
		_, after, _ = strings.Cut(comment, "-->")
		return "", after
	}
	var quote byte
	for i := range len(rest) {
		switch c := rest[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '>':
			return rest[:i], rest[i+1:]
		}
	}
	return rest, ""
}

func tagName(inner string) (name, attributes string) {
	end := strings.IndexAny(inner, " \t\r\n")
	if end < 0 {
		return strings.ToLower(strings.TrimSuffix(inner, "/")), ""
	}
	return strings.ToLower(inner[:end]), inner[end:]
}

func attribute(attributes, name string) string {
	i := strings.Index(strings.ToLower(attributes), " "+name+"=")
	if i < 0 {
		return ""
	}
	value := attributes[i+len(name)+2:]
	if value == "" {
		return ""
	}
	if quote := value[0]; quote == '"' || quote == '\'' {
		value, _, _ = strings.Cut(value[1:], string(quote))
	} else {
		value, _, _ = strings.Cut(value, " ")
	}
	return html.UnescapeString(value)
}

// afterElement is what follows the end tag.
func afterElement(source, name string) string {
	for {
		_, end, found := strings.Cut(source, "</")
		if !found {
			return ""
		}
		if len(end) >= len(name) && strings.EqualFold(end[:len(name)], name) {
			_, after, _ := strings.Cut(end, ">")
			return after
		}
		source = end
	}
}

// tidy trims lines and leaves one empty one where there were several.
func tidy(text string) string {
	var out []string
	empty := true
	for line := range strings.SplitSeq(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" && empty {
			continue
		}
		empty = line == ""
		out = append(out, line)
	}
	return strings.TrimSpace(strings.Join(out, "\n")) + "\n"
}
