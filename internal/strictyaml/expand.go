package strictyaml

import (
	"fmt"
	"strings"
)

// expand replaces the variables in text and reports whether there were any.
func (e Environment) expand(text string) (out string, expanded bool, err error) {
	if !strings.Contains(text, "$") {
		return text, false, nil
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		switch {
		case strings.HasPrefix(text[i:], "$$"):
			b.WriteByte('$')
			i += 2
		case strings.HasPrefix(text[i:], "${"):
			end := strings.IndexByte(text[i:], '}')
			if end < 0 {
				return "", false, fmt.Errorf("expected a closing brace behind %q (write $$ for a dollar sign)", text[i:])
			}
			value, err := e.variable(text[i+2 : i+end])
			if err != nil {
				return "", false, err
			}
			b.WriteString(value)
			expanded = true
			i += end + 1
		default:
			b.WriteByte(text[i])
			i++
		}
	}
	return b.String(), expanded, nil
}

func (e Environment) variable(name string) (string, error) {
	if path, ok := strings.CutPrefix(name, "file:"); ok {
		content, err := e.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("${file:%s} cannot be read: %w", path, err)
		}
		return strings.TrimRight(string(content), "\r\n"), nil
	}
	name, fallback, hasFallback := strings.Cut(name, ":-")
	if name == "" || strings.ContainsAny(name, " \t${") {
		return "", fmt.Errorf("expected ${NAME}, ${NAME:-default} or ${file:/path}, got ${%s}", name)
	}
	if value, ok := e.LookUp(name); ok && (value != "" || !hasFallback) {
		return value, nil
	}
	if hasFallback {
		return fallback, nil
	}
	return "", fmt.Errorf("the environment variable %s is not set; set it, or give a default: ${%s:-…}", name, name)
}
