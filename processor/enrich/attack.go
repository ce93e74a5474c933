package enrich

import (
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// technique is one of those that rules about Kubernetes name (MITRE ATT&CK, containers matrix).
var techniques = map[string]string{
	"T1610": "Deploy Container", "T1611": "Escape to Host", "T1609": "Container Administration Command", "T1613": "Container and Resource Discovery",
	"T1053": "Scheduled Task/Job", "T1053.007": "Container Orchestration Job", "T1078": "Valid Accounts", "T1078.001": "Default Accounts",
	"T1078.004": "Cloud Accounts", "T1098": "Account Manipulation", "T1098.006": "Additional Container Cluster Roles", "T1496": "Resource Hijacking",
	"T1496.001": "Compute Hijacking", "T1552": "Unsecured Credentials", "T1552.007": "Container API", "T1528": "Steal Application Access Token",
	"T1525": "Implant Internal Image", "T1543": "Create or Modify System Process", "T1543.005": "Container Service", "T1562": "Impair Defenses",
	"T1562.008": "Disable or Modify Cloud Logs", "T1036": "Masquerading", "T1036.005": "Match Legitimate Resource Name or Location",
	"T1068": "Exploitation for Privilege Escalation", "T1133": "External Remote Services", "T1190": "Exploit Public-Facing Application",
	"T1485": "Data Destruction", "T1548": "Abuse Elevation Control Mechanism", "T1550": "Use Alternate Authentication Material",
	"T1550.001": "Application Access Token", "T1556": "Modify Authentication Process", "T1059": "Command and Scripting Interpreter",
	"T1134": "Access Token Manipulation", "T1136": "Create Account", "T1069": "Permission Groups Discovery", "T1087": "Account Discovery",
	"T1110": "Brute Force", "T1195": "Supply Chain Compromise", "T1204": "User Execution", "T1204.003": "Malicious Image",
}

// tactics by the name in a Sigma tag. Names of ATT&CK v19 are known beside older ones; an id stands only where it is certain.
var tactics = map[string]string{
	"initial-access": "TA0001", "execution": "TA0002", "persistence": "TA0003", "privilege-escalation": "TA0004", "defense-evasion": "TA0005",
	"stealth": "", "defense-impairment": "", "credential-access": "TA0006", "discovery": "TA0007", "lateral-movement": "TA0008",
	"collection": "TA0009", "exfiltration": "TA0010", "command-and-control": "TA0011", "impact": "TA0040", "reconnaissance": "TA0043",
	"resource-development": "TA0042",
}

// attack names the techniques and tactics of all rules that matched.
func (e *Enricher) attack(_ *Input, a *alert.Alert) error {
	for i := range a.Rules {
		addTechniques(a, a.Rules[i].Tags)
	}
	return nil
}

// addTechniques reads the tags of one rule: attack.t1610 names a technique, attack.execution the tactic of those beside it.
func addTechniques(a *alert.Alert, tags []string) {
	tactic, tacticID := "", ""
	for _, tag := range tags {
		name := strings.ReplaceAll(strings.TrimPrefix(strings.ToLower(tag), "attack."), "_", "-")
		if id, ok := tactics[name]; ok && tactic == "" {
			tactic, tacticID = name, id
		}
	}
	for _, tag := range tags {
		id := strings.ToUpper(strings.TrimPrefix(strings.ToLower(tag), "attack."))
		if len(id) < 5 || id[0] != 'T' || id[1] < '0' || id[1] > '9' || hasTechnique(a.Attack, id) {
			continue
		}
		a.Attack = append(a.Attack, alert.Technique{Technique: id, Name: techniques[id], Tactic: tactic, TacticID: tacticID})
	}
}

func hasTechnique(all []alert.Technique, id string) bool {
	for i := range all {
		if all[i].Technique == id {
			return true
		}
	}
	return false
}
