package enrich

import (
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// technique is one of those that rules about Kubernetes name (MITRE ATT&CK, containers matrix), with the tactics it serves
// there, the most telling first.
type technique struct {
	name    string
	tactics []string
}

const (
	initialAccess = "initial-access"
	execution     = "execution"
	persistence   = "persistence"
	escalation    = "privilege-escalation"
	evasion       = "defense-evasion"
	stealth       = "stealth"
	impairment    = "defense-impairment"
	credentials   = "credential-access"
	discovery     = "discovery"
	lateral       = "lateral-movement"
	impact        = "impact"
)

func techniqueTable() map[string]technique {
	return map[string]technique{
		"T1036":     {"Masquerading", []string{evasion, stealth}},
		"T1036.005": {"Match Legitimate Resource Name or Location", []string{evasion, stealth}},
		"T1053":     {"Scheduled Task/Job", []string{execution, persistence, escalation}},
		"T1053.007": {"Container Orchestration Job", []string{execution, persistence, escalation}},
		"T1059":     {"Command and Scripting Interpreter", []string{execution}},
		"T1068":     {"Exploitation for Privilege Escalation", []string{escalation}},
		"T1069":     {"Permission Groups Discovery", []string{discovery}},
		"T1078":     {"Valid Accounts", []string{initialAccess, persistence, escalation, evasion, stealth}},
		"T1078.001": {"Default Accounts", []string{initialAccess, persistence, escalation, evasion, stealth}},
		"T1078.004": {"Cloud Accounts", []string{initialAccess, persistence, escalation, evasion, stealth}},
		"T1070":     {"Indicator Removal", []string{evasion, stealth}},
		"T1087":     {"Account Discovery", []string{discovery}},
		"T1090":     {"Proxy", []string{"command-and-control"}},
		"T1098":     {"Account Manipulation", []string{persistence, escalation}},
		"T1098.006": {"Additional Container Cluster Roles", []string{persistence, escalation}},
		"T1110":     {"Brute Force", []string{credentials}},
		"T1133":     {"External Remote Services", []string{initialAccess, persistence}},
		"T1134":     {"Access Token Manipulation", []string{escalation, evasion, stealth}},
		"T1136":     {"Create Account", []string{persistence}},
		"T1190":     {"Exploit Public-Facing Application", []string{initialAccess}},
		"T1195":     {"Supply Chain Compromise", []string{initialAccess}},
		"T1204":     {"User Execution", []string{execution}},
		"T1204.003": {"Malicious Image", []string{execution}},
		"T1485":     {"Data Destruction", []string{impact}},
		"T1496":     {"Resource Hijacking", []string{impact}},
		"T1496.001": {"Compute Hijacking", []string{impact}},
		"T1525":     {"Implant Internal Image", []string{persistence}},
		"T1528":     {"Steal Application Access Token", []string{credentials}},
		"T1543":     {"Create or Modify System Process", []string{persistence, escalation}},
		"T1543.005": {"Container Service", []string{persistence, escalation}},
		"T1548":     {"Abuse Elevation Control Mechanism", []string{escalation, evasion}},
		"T1550":     {"Use Alternate Authentication Material", []string{lateral, evasion}},
		"T1550.001": {"Application Access Token", []string{lateral, evasion}},
		"T1552":     {"Unsecured Credentials", []string{credentials}},
		"T1552.007": {"Container API", []string{credentials}},
		"T1556":     {"Modify Authentication Process", []string{credentials, evasion, persistence, impairment}},
		"T1562":     {"Impair Defenses", []string{evasion, impairment}},
		"T1562.001": {"Disable or Modify Tools", []string{evasion, impairment}},
		"T1562.008": {"Disable or Modify Cloud Logs", []string{evasion, impairment}},
		"T1609":     {"Container Administration Command", []string{execution}},
		"T1610":     {"Deploy Container", []string{execution, evasion}},
		"T1611":     {"Escape to Host", []string{escalation}},
		"T1613":     {"Container and Resource Discovery", []string{discovery}},
	}
}

// tacticTable holds the tactics by the name in a Sigma tag. Names of ATT&CK v19 stand beside older ones; an id is given
// only where it is certain.
func tacticTable() map[string]string {
	return map[string]string{
		initialAccess: "TA0001", execution: "TA0002", persistence: "TA0003", escalation: "TA0004", evasion: "TA0005",
		stealth: "", impairment: "", credentials: "TA0006", discovery: "TA0007", lateral: "TA0008", "collection": "TA0009",
		"exfiltration": "TA0010", "command-and-control": "TA0011", impact: "TA0040", "reconnaissance": "TA0043", "resource-development": "TA0042",
	}
}

// attack names the techniques and tactics of all rules that matched, each technique once, and tactics that a rule names
// without a technique that serves them.
func (e *Enricher) attack(_ *Input, a *alert.Alert) error {
	for i := range a.Rules {
		e.addTechniques(a, a.Rules[i].Tags)
	}
	return nil
}

// addTechniques reads the tags of one rule: attack.t1610 names a technique, attack.execution a tactic. Sigma does not say
// which tactic belongs to which technique; ATT&CK does.
func (e *Enricher) addTechniques(a *alert.Alert, tags []string) {
	var named, ids []string
	for _, tag := range tags {
		name, ok := strings.CutPrefix(strings.ToLower(tag), "attack.")
		if !ok {
			continue
		}
		name = strings.ReplaceAll(name, "_", "-")
		if _, ok := e.tactics[name]; ok {
			named = append(named, name)
		} else if isTechnique(name) {
			ids = append(ids, strings.ToUpper(name))
		}
	}
	served := map[string]bool{}
	for _, id := range ids {
		known := e.techniques[id]
		tactic := tacticOf(known, named)
		served[tactic] = true
		if !hasTechnique(a.Attack, id) {
			a.Attack = append(a.Attack, alert.Technique{Technique: id, Name: known.name, Tactic: tactic, TacticID: e.tactics[tactic]})
		}
	}
	for _, tactic := range named {
		if !served[tactic] && !hasTactic(a.Attack, tactic) {
			a.Attack = append(a.Attack, alert.Technique{Tactic: tactic, TacticID: e.tactics[tactic]})
		}
	}
}

// tacticOf is the tactic, of those that the rule names, that the technique serves; where ATT&CK's table does not help, the
// only one named, or the technique's own.
func tacticOf(t technique, named []string) string {
	for _, tactic := range t.tactics {
		if contains(named, tactic) {
			return tactic
		}
	}
	switch {
	case len(named) > 0 && len(t.tactics) == 0:
		return named[0]
	case len(t.tactics) > 0:
		return t.tactics[0]
	}
	return ""
}

// isTechnique tells t1610 and t1053.007.
func isTechnique(name string) bool {
	if len(name) != 5 && len(name) != 9 || name[0] != 't' {
		return false
	}
	for i := 1; i < len(name); i++ {
		if i == 5 {
			if name[i] != '.' {
				return false
			}
		} else if name[i] < '0' || name[i] > '9' {
			return false
		}
	}
	return true
}

func hasTechnique(all []alert.Technique, id string) bool {
	for i := range all {
		if all[i].Technique == id {
			return true
		}
	}
	return false
}

func hasTactic(all []alert.Technique, tactic string) bool {
	for i := range all {
		if all[i].Tactic == tactic {
			return true
		}
	}
	return false
}
