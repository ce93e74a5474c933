package processor

import (
	"unsafe"

	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/processor/envelope"
	"github.com/spawnwatch/spawnwatch/rules"
)

// ComputedFields hands the fields that an audit model derives (outcome, workload.*, actor.*) to the rule compiler:
// neither package knows the other.
func ComputedFields(m *audit.Model) []rules.Computed {
	groups := m.Fields()
	computed := make([]rules.Computed, len(groups))
	for i, g := range groups {
		computed[i] = rules.Computed{
			Names: g.Names,
			Needs: g.Needs,
			Eval:  func(raw []string, out *rules.Values) { g.Eval(raw, out) },
		}
		if g.Implies != nil {
			computed[i].Implies = func(name, value string) []rules.Pin {
				pins := g.Implies(name, value)
				converted := make([]rules.Pin, len(pins))
				for j, p := range pins {
					converted[j] = rules.Pin(p)
				}
				return converted
			}
		}
	}
	return computed
}

// RuleOptions are the options under which every set of rules for Kubernetes audit events is compiled:
//
//   - Rules for other products or services are left out.
//   - A rule that names no stage sees ResponseStarted and ResponseComplete (a 401 exists only as the former) and events
//     without a stage, and Panic, which may have stored something; never RequestReceived.
//   - A verb that is no text does not reject an event: the event is read on, and found to have no readable verb.
//   - Aliases stand for names in common use that raw audit events do not have.
func RuleOptions() rules.Options {
	return rules.Options{
		LogSource: rules.LogSource{Product: "kubernetes", Service: "audit"},
		Guards:    []rules.Guard{{Field: "stage", Values: []string{"ResponseComplete", "ResponseStarted", "Panic"}, Absent: true}},
		Texts:     []string{"verb"},
		Check:     checkValue,
		Checked:   []string{"requestObject", "responseObject"},
		Aliases:   Aliases(),
	}
}

// Aliases maps names that public Kubernetes rules use to the fields that hold what they mean.
func Aliases() map[string][]string {
	return map[string][]string{
		"hostPath":     {"workload.host_path"},
		"capabilities": {"workload.capability"},
		"apiGroup":     {"objectRef.apiGroup"},
	}
}

// checkValue checks a body while it is passed, so that a candidate's largest parts are read once less.
func checkValue(event string, start int) int {
	return envelope.CheckValue(unsafe.Slice(unsafe.StringData(event), len(event)), start)
}
