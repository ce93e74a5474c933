package telemetry

import (
	"errors"
	"fmt"
	"strings"
)

// destinations say which signals are sent somewhere.
type destinations struct {
	metrics, traces, logs bool
	// sampler is set when OTEL_TRACES_SAMPLER says which traces are sent.
	sampler bool
}

// destinationsOf reads the standard variables (OpenTelemetry, environment variable specification). A signal is sent
// when OTEL_<SIGNAL>_EXPORTER is otlp, or when that is not set and an OTLP endpoint is. The specification would send to
// localhost when nothing is set; a program that is told nothing stays quiet.
//
// console is refused: standard output is for data. prometheus is what the admin listener has anyway.
func destinationsOf(lookUp func(string) (string, bool)) (d destinations, err error) {
	value := func(name string) string {
		if lookUp == nil {
			return ""
		}
		v, _ := lookUp(name)
		return strings.TrimSpace(v)
	}
	if strings.EqualFold(value("OTEL_SDK_DISABLED"), "true") {
		return d, nil
	}
	var errs []error
	for _, s := range []struct {
		name string
		send *bool
	}{{"METRICS", &d.metrics}, {"TRACES", &d.traces}, {"LOGS", &d.logs}} {
		variable := "OTEL_" + s.name + "_EXPORTER"
		switch exporter := value(variable); {
		case exporter == "":
			*s.send = value("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || value("OTEL_EXPORTER_OTLP_"+s.name+"_ENDPOINT") != ""
		case exporter == "otlp":
			*s.send = true
		case exporter == "none", exporter == "prometheus" && s.name == "METRICS":
		default:
			errs = append(errs, fmt.Errorf("%s: expected otlp or none, got %q (metrics can be read at /metrics in any case)", variable, exporter))
		}
	}
	d.sampler = value("OTEL_TRACES_SAMPLER") != ""
	return d, errors.Join(errs...)
}
