package enrich

import (
	"regexp"
	"strings"
)

// Redacted stands in the place of what may be secret.
const Redacted = "[redacted]"

// secretText finds what looks like a credential inside free text: command lines, annotations, URLs, messages. Each
// alternative keeps what names the secret and replaces the secret itself.
//
//	1,2  a key with its value: --password=x, token: x, "secretKey":"x", PGPASSWORD=x, -H 'Authorization: Bearer x'
//	3    the password of a URL: https://user:x@host
//	4    a token known by its form: JWT (RFC 7519), AWS, GitHub, GitLab, Slack, Google, PEM private keys
var (
	keyedSecret = regexp.MustCompile(`(?i)((?:[a-z0-9_.\-]*(?:passw(?:or)?d|passphrase|passwd|pwd|secret|token|api[_\-]?key|access[_\-]?key|private[_\-]?key|credentials?|authorization|auth)[a-z0-9_\-]*)["'\\]*\s*(?:=|:)\s*["'\\]*(?:(?:bearer|basic|digest|token)\s+)?)([^\s"'\\,;&}\])]+)`)
	bearer      = regexp.MustCompile(`(?i)(\b(?:bearer|basic)\s+)([a-z0-9+/_.~\-]{8,}=*)`)
	urlPassword = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.\-]*://[^\s:/@"']*:)([^\s@/"']+)(@)`)
	knownToken  = regexp.MustCompile(`eyJ[A-Za-z0-9_\-]{6,}\.[A-Za-z0-9_\-]{6,}(?:\.[A-Za-z0-9_\-]*)?|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}|\bglpat-[A-Za-z0-9_\-]{16,}|\bxox[abprs]-[A-Za-z0-9\-]{10,}|\bAIza[A-Za-z0-9_\-]{30,}|(?s:-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$))`)
	// secretFlag is a flag whose secret is the next argument: --password x, -p x is too common to count.
	secretFlag = regexp.MustCompile(`(?i)^--?[a-z0-9_.\-]*(?:passw(?:or)?d|passphrase|passwd|pwd|secret|token|api[_\-]?key|access[_\-]?key|private[_\-]?key|credentials?)$`)
)

// hints are what every pattern above needs at least one of: most text holds none, and is not searched further.
var hints = []string{
	"pass", "pwd", "secret", "token", "key", "credential", "auth", "bearer", "basic", "://", "eyj", "akia", "asia",
	"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "aiza", "private",
}

// Text replaces what looks like a credential in free text.
func Text(text string) string {
	if len(text) < 6 || !hinted(text) {
		return text
	}
	text = knownToken.ReplaceAllString(text, Redacted)
	text = urlPassword.ReplaceAllString(text, "${1}"+Redacted+"${3}")
	text = keyedSecret.ReplaceAllString(text, "${1}"+Redacted)
	return bearer.ReplaceAllString(text, "${1}"+Redacted)
}

func hinted(text string) bool {
	lower := strings.ToLower(text)
	for _, h := range hints {
		if strings.Contains(lower, h) {
			return true
		}
	}
	return false
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
		next = secretFlag.MatchString(a)
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

// secretKeys are names of members whose text is a secret wherever they stand.
func isSecretKey(key string) bool {
	switch strings.ToLower(key) {
	case "password", "passwd", "token", "secret", "apikey", "api_key", "bearertoken", "bearer_token", "id-token",
		"refresh-token", "access-token", "client-key-data", "clientsecret", "client_secret", "privatekey", "private_key":
		return true
	}
	return false
}
