package enrich

import (
	"net/url"
	"regexp"
	"strings"
)

// Redacted stands in the place of what may be secret.
const Redacted = "[redacted]"

// What looks like a credential inside of free text: command lines, annotations, URLs, messages.
var (
	// secretWord is a name behind which a secret stands, up to the sign that separates the two: --db-password=, token: ,
	// "secretKey":, PGPASSWORD=, 'Authorization: Bearer, and flags with the value as the next word.
	secretWord = regexp.MustCompile(`(?i)(?:[a-z0-9_.\-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|(?:api|access|account|client|encryption|license|master|private|shared|signing|ssh|storage)[_\-]?key|credentials?|authorization)[a-z0-9_\-]*|[a-z0-9_.\-]*[_.\-]auth|\bauth)(?:\\*["'])?\s*[=:]\s*(?:\\*["'])?(?:(?:bearer|basic|digest|negotiate|token)\s+)?|(?:^|\s)--?[a-z0-9_.\-]*(?:passw(?:or)?d|passphrase|secret|token|(?:api|access|private|secret)[_\-]?key)\s+(?:\\*["'])?`)
	// bearer is the header without its name.
	bearer = regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)([a-z0-9+/_.~\-]{8,}=*)`)
	// urlPassword is that of https://user:password@host.
	urlPassword = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.\-]*://[^\s:/@"']*:)([^\s@/"']+)(@)`)
	// knownToken is known by its form: JWT (RFC 7519), keys of AWS, GitHub, GitLab, Slack, Google, Vault, Stripe, npm, and
	// private keys in PEM (RFC 7468).
	knownToken = regexp.MustCompile(`eyJ[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]{6,}(?:\.[A-Za-z0-9_\-]*)?|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_\-]{16,}|\bxox[abprs]-[A-Za-z0-9\-]{10,}|\bAIza[A-Za-z0-9_\-]{30,}|\bhvs\.[A-Za-z0-9_\-]{20,}|\bsk_live_[A-Za-z0-9]{16,}|\bnpm_[A-Za-z0-9]{30,}|(?s:-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$))`)
	// secretFlag is a flag whose secret is the next argument: --password x. (-p x is too common to count.)
	secretFlag = regexp.MustCompile(`(?i)^--?[a-z0-9_.\-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|(?:api|access|private|secret)[_\-]?key|credentials?)$`)
	// invalidValue is how the API server repeats a value that it refuses, with the field it stood in.
	invalidValue = regexp.MustCompile(`([a-zA-Z0-9_.\-/\[\]]*)(: ?)?((?:Invalid|Unsupported|Duplicate) value: )("(?:[^"\\]|\\.)*"?|[^"](?:[^:]|:[^ ])*)`)
)

// clue is what a text holds that one of the patterns above needs.
type clue uint8

const (
	clueWord clue = 1 << iota
	clueBearer
	clueURL
	clueToken
)

// Text replaces what looks like a credential in free text. What names the secret stays.
func Text(text string) string {
	found := clues(text)
	if found == 0 {
		return text
	}
	if found&clueToken != 0 {
		text = knownToken.ReplaceAllString(text, Redacted)
	}
	if found&clueURL != 0 {
		text = urlPassword.ReplaceAllString(text, "${1}"+Redacted+"${3}")
	}
	if found&clueWord != 0 {
		text = words(text)
	}
	if found&clueBearer != 0 {
		text = bearer.ReplaceAllString(text, "${1}"+Redacted)
	}
	return text
}

// imageText redacts the name of an image: it may hold a credential only by mistake, and "sealed-secrets:v1" is none.
func imageText(image string) string {
	found := clues(image)
	if found&clueToken != 0 {
		image = knownToken.ReplaceAllString(image, Redacted)
	}
	if found&clueURL != 0 {
		image = urlPassword.ReplaceAllString(image, "${1}"+Redacted+"${3}")
	}
	return image
}

// begins tells the bytes with which a clue begins, or which separate a name from a secret.
var begins = func() (t [256]bool) {
	for _, c := range []byte("pstkcabegxhnPSTKCABEGXHN=: ") {
		t[c] = true
	}
	return t
}()

// clues looks for what the patterns need at least, in one pass: most text holds none of it, and is not searched further.
func clues(text string) (found clue) {
	separated := false
	for i := range len(text) {
		c := text[i]
		if !begins[c] {
			continue
		}
		switch c |= 0x20; c {
		case '=', ':':
			if text[i] == ':' && strings.HasPrefix(text[i:], "://") {
				found |= clueURL
			}
			separated = separated || text[i] == ':' || text[i] == '='
		case ' ':
			separated = separated || text[i] == ' '
		case 'p':
			if follows(text, i, "pass") || follows(text, i, "pwd") || follows(text, i, "private") {
				found |= clueWord | clueToken
			}
		case 's':
			if follows(text, i, "secret") || follows(text, i, "sk_live_") {
				found |= clueWord | clueToken
			}
		case 't':
			if follows(text, i, "token") {
				found |= clueWord
			}
		case 'k':
			if follows(text, i, "key") {
				found |= clueWord
			}
		case 'c':
			if follows(text, i, "credential") {
				found |= clueWord
			}
		case 'a':
			switch {
			case follows(text, i, "auth"):
				found |= clueWord
			case follows(text, i, "akia"), follows(text, i, "asia"), follows(text, i, "aiza"):
				found |= clueToken
			}
		case 'b':
			if follows(text, i, "bearer") || follows(text, i, "basic") {
				found |= clueBearer
			}
		case 'e':
			if follows(text, i, "eyj") {
				found |= clueToken
			}
		case 'g':
			if i+3 < len(text) && (text[i+3] == '_' || follows(text, i, "github_pat_") || follows(text, i, "glpat-")) {
				found |= clueToken
			}
		case 'x':
			if follows(text, i, "xox") {
				found |= clueToken
			}
		case 'h':
			if follows(text, i, "hvs.") {
				found |= clueToken
			}
		case 'n':
			if follows(text, i, "npm_") {
				found |= clueToken
			}
		}
	}
	if !separated {
		found &^= clueWord
	}
	return found
}

// follows tells whether the lower-case word stands at i, in any case.
func follows(text string, i int, word string) bool {
	return len(text)-i >= len(word) && (text[i+1]|0x20 == word[1] || text[i+1] == word[1]) && strings.EqualFold(text[i:i+len(word)], word)
}

// words replaces what stands behind the name of a secret.
func words(text string) string {
	var b strings.Builder
	kept := 0
	for kept < len(text) {
		m := secretWord.FindStringIndex(text[kept:])
		if m == nil {
			break
		}
		start, at := kept+m[0], kept+m[1]
		end := valueEnd(text, at)
		if end == at || isName(text, start, at) {
			b.WriteString(text[kept:at])
			kept = at
			continue
		}
		b.WriteString(text[kept:at])
		b.WriteString(Redacted)
		kept = end
	}
	if b.Len() == 0 {
		return text
	}
	b.WriteString(text[kept:])
	return b.String()
}

// isName tells names with a colon from secrets behind one: in system:serviceaccount:external-secrets:reader and in
// quay.io/acme/sealed-secrets:v1 nothing stands but the colon between the two, and the word is only a part of a name.
func isName(text string, start, at int) bool {
	return start > 0 && at < len(text) && text[at-1] == ':' && (text[start-1] == ':' || text[start-1] == '/')
}

// valueEnd is where the secret ends that begins at at. Behind an opening quote it goes on to the closing one, and further
// where a shell would go on; otherwise to the next white space, quote or ampersand.
func valueEnd(text string, at int) int {
	const stops = " \t\r\n,;&|}])"
	end := at
	if at > 0 && (text[at-1] == '"' || text[at-1] == '\'') {
		quoted := strings.IndexByte(text[at:], text[at-1])
		if quoted < 0 {
			return len(text)
		}
		if quoted == 0 {
			return at // nothing between the quotes
		}
		end = at + quoted
		if backslashes := at - 1 - len(strings.TrimRight(text[:at-1], `\`)); backslashes > 0 {
			return end - (end - at - len(strings.TrimRight(text[at:end], `\`)))
		}
		if next := end + 1; next >= len(text) || strings.IndexByte(stops, text[next]) >= 0 {
			return end
		}
		for end++; end < len(text) && strings.IndexByte(stops, text[end]) < 0; end++ {
			if c := text[end]; c == '"' || c == '\'' {
				quoted := strings.IndexByte(text[end+1:], c)
				if quoted < 0 {
					return len(text)
				}
				end += 1 + quoted
			}
		}
		return end
	}
	for end < len(text) && strings.IndexByte(" \t\r\n\"'&", text[end]) < 0 {
		end++
	}
	return end
}

// Arguments redacts a command line, argument by argument; what follows a flag such as --password is the secret. The
// slice given is left as it is.
func Arguments(args []string) []string {
	var clean []string
	next := false
	for i, a := range args {
		r := Text(a)
		if next && a != "" && !strings.HasPrefix(a, "-") {
			r = Redacted
		}
		next = isSecretFlag(a)
		if r != a && clean == nil {
			clean = append(make([]string, 0, len(args)), args[:i]...)
		}
		if clean != nil {
			clean = append(clean, r)
		}
	}
	if clean == nil {
		return args
	}
	return clean
}

func isSecretFlag(arg string) bool { return strings.HasPrefix(arg, "-") && secretFlag.MatchString(arg) }

// URI redacts the query of a request: parameters named as secrets are, the command line of an exec, and what looks like a
// credential, also where it is percent-encoded.
func URI(uri string) string {
	path, query, ok := strings.Cut(uri, "?")
	if !ok {
		return Text(uri)
	}
	var b strings.Builder
	b.WriteString(Text(path))
	next := false
	sign := byte('?')
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, raw, hasValue := strings.Cut(pair, "=")
		b.WriteByte(sign)
		sign = '&'
		b.WriteString(key)
		if !hasValue {
			continue
		}
		b.WriteByte('=')
		value, err := url.QueryUnescape(raw)
		if err != nil {
			value = raw
		}
		name, err := url.QueryUnescape(key)
		if err != nil {
			name = key
		}
		hidden := isSecretKey(name) && value != ""
		if name == "command" {
			hidden = hidden || next && value != "" && !strings.HasPrefix(value, "-")
			next = isSecretFlag(value)
		}
		clean := Text(value)
		switch {
		case hidden:
			b.WriteString(Redacted)
		case clean != value:
			b.WriteString(strings.ReplaceAll(url.QueryEscape(clean), url.QueryEscape(Redacted), Redacted))
		default:
			b.WriteString(raw)
		}
	}
	return b.String()
}

// Message redacts what the API server answered. Only the first line stays: a refused update is followed by a dump of the
// whole spec. Values that were refused are repeated in the message; those out of places that may hold a secret go.
func Message(text string) string {
	if line := strings.IndexByte(text, '\n'); line >= 0 {
		text = text[:line] + " …"
	}
	if strings.Contains(text, " value: ") {
		text = invalidValue.ReplaceAllStringFunc(text, func(match string) string {
			m := invalidValue.FindStringSubmatch(match)
			if m[4][0] == '"' && !isSecretField(m[1]) {
				return match
			}
			return m[1] + m[2] + m[3] + Redacted
		})
	}
	return Text(text)
}

// isSecretField tells fields whose values may be secret; an unnamed one may be any.
func isSecretField(field string) bool {
	if field == "" {
		return true
	}
	for _, part := range strings.FieldsFunc(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		switch part {
		case "env", "data", "stringData", "binaryData", "annotations", "command", "args", "value":
			return true
		}
	}
	return isSecretKey(field)
}

// isSecretKey tells names of members whose text is a secret wherever they stand: password, dbPassword, DB_PASSWORD.
func isSecretKey(key string) bool {
	if len(key) < 3 || len(key) > 256 {
		return false
	}
	var folded [256]byte
	n := 0
	for i := range len(key) {
		switch c := key[i]; {
		case c == '-', c == '_', c == '.':
		case c >= 'A' && c <= 'Z':
			folded[n] = c | 0x20
			n++
		default:
			folded[n] = c
			n++
		}
	}
	name := string(folded[:n])
	if name == "secret" || name == "bearer" || name == "pwd" || name == "auth" {
		return true
	}
	for _, suffix := range [...]string{
		"password", "passwd", "passphrase", "token", "apikey", "accesskey", "secretkey", "privatekey", "clientkeydata", "clientsecret", "credentials",
		"authorization",
	} {
		if strings.HasSuffix(name, suffix) {
			return true
		}
	}
	return false
}
