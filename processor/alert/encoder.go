package alert

import (
	"fmt"
	"strings"
)

// Encoder appends one alert, a JSON object on a single line without a line feed at its end, to dst. It keeps nothing of
// a and is safe for concurrent use on different alerts.
type Encoder func(dst []byte, a *Alert) []byte

// Names of the formats.
const (
	// FormatNative is format v1 as described by [Schema].
	FormatNative = "native"
	// FormatOCSF is a Detection Finding of OCSF, see [AppendOCSF].
	FormatOCSF = "ocsf"
	// FormatECS is a document of the Elastic Common Schema, see [AppendECS].
	FormatECS = "ecs"
	// FormatFalco is an alert as Falco writes it, see [AppendFalco].
	FormatFalco = "falco"
)

// Formats lists the names that [Format] knows.
func Formats() []string { return []string{FormatNative, FormatOCSF, FormatECS, FormatFalco} }

// Format returns the encoder of a format; the empty name is native.
func Format(name string) (Encoder, error) {
	switch name {
	case FormatNative, "":
		return AppendNative, nil
	case FormatOCSF:
		return AppendOCSF, nil
	case FormatECS:
		return AppendECS, nil
	case FormatFalco:
		return AppendFalco, nil
	default:
		return nil, fmt.Errorf("expected a format (%s), got %q", strings.Join(Formats(), ", "), name)
	}
}
