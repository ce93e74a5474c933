package alert

import (
	"strings"
	"time"
)

// OCSFVersion is the version of the Open Cybersecurity Schema Framework that [AppendOCSF] writes.
const OCSFVersion = "1.8.0"

// AppendOCSF appends the alert as a Detection Finding (class 2004, activity Create) of OCSF 1.8.0, without profiles.
//
// Every enrichment goes where OCSF has a place for it: the request and its actor into the first of evidences, each
// container into one of its own, the workload into resources, policy, network, owners and approval into enrichments,
// the prepared steps into remediation. What has none (outcome, cluster, rules with their tags, reasons, investigation,
// origin, notes) is in unmapped under its native name. Unlike in the native format, what is unknown may be left out.
func AppendOCSF(dst []byte, a *Alert) []byte {
	dst = append(dst, `{"category_uid":2,"category_name":"Findings","class_uid":2004,"class_name":"Detection Finding",`+
		`"activity_id":1,"activity_name":"Create","type_uid":200401,"type_name":"Detection Finding: Create",`+
		`"is_alert":true,"status_id":1,"status":"New"`...)
	at := a.Time
	if at.IsZero() {
		at = a.DetectedAt
	}
	dst = milliseconds(dst, `,"time":`, at)
	severity := ocsfSeverity(a.Severity)
	dst = integer(dst, `,"severity_id":`, severity.id)
	dst = str(dst, `,"severity":`, severity.caption)
	dst = str(dst, `,"message":`, a.Title)
	dst = integer(dst, `,"risk_score":`, int64(a.Score))
	dst = append(dst, `,"risk_details":"`...)
	for i := range a.Reasons {
		if i > 0 {
			dst = append(dst, "; "...)
		}
		dst = appendEscaped(dst, a.Reasons[i].Text)
	}
	dst = append(dst, '"')
	dst = appendOCSFMetadata(append(dst, `,"metadata":`...), a)
	dst = appendOCSFInfo(append(dst, `,"finding_info":`...), a, at)
	dst = appendOCSFEvidences(append(dst, `,"evidences":`...), a)
	dst = appendOCSFResources(append(dst, `,"resources":`...), a)
	dst = appendOCSFEnrichments(append(dst, `,"enrichments":`...), a)
	dst = appendOCSFObservables(append(dst, `,"observables":`...), a)
	if len(a.Respond) > 0 {
		dst = appendOCSFRemediation(append(dst, `,"remediation":`...), a.Respond)
	}
	dst = str(dst, `,"unmapped":{"outcome":`, string(a.Outcome))
	dst = str(dst, `,"cluster":`, a.Cluster)
	dst = array(dst, `,"reasons":`, a.Reasons, appendReason)
	dst = array(dst, `,"rules":`, a.Rules, appendRule)
	dst = str(dst, `,"stage":`, a.Request.Stage)
	dst = array(dst, `,"investigate":`, a.Investigate, appendStep)
	dst = array(dst, `,"related":`, a.Related, appendRelated)
	dst = appendOrigin(append(dst, `,"origin":`...), &a.Origin)
	dst = array(dst, `,"notes":`, a.Notes, appendNote)
	return append(dst, `}}`...)
}

// caption is a number of an OCSF enumeration with its name.
type caption struct {
	id      int64
	caption string
}

func ocsfSeverity(s Severity) caption {
	switch s {
	case Informational:
		return caption{1, "Informational"}
	case Low:
		return caption{2, "Low"}
	case Medium:
		return caption{3, "Medium"}
	case High:
		return caption{4, "High"}
	case Critical:
		return caption{5, "Critical"}
	default:
		return caption{0, "Unknown"}
	}
}

// milliseconds appends a timestamp_t, which cannot be null: 0 where the time is unknown.
func milliseconds(dst []byte, key string, t time.Time) []byte {
	if t.IsZero() {
		return integer(dst, key, 0)
	}
	return integer(dst, key, t.UnixMilli())
}

func appendOCSFMetadata(dst []byte, a *Alert) []byte {
	dst = append(dst, `{"version":"`+OCSFVersion+`","product":{"name":"spawnwatch","vendor_name":"spawnwatch"}`...)
	dst = str(dst, `,"uid":`, a.ID)
	dst = str(dst, `,"original_event_uid":`, a.Request.AuditID)
	if !a.Time.IsZero() {
		dst = stamp(dst, `,"original_time":`, a.Time)
	}
	if !a.DetectedAt.IsZero() {
		dst = milliseconds(dst, `,"processed_time":`, a.DetectedAt)
	}
	dst = str(dst, `,"log_name":"kubernetes-audit","log_level":`, a.Request.Level)
	return append(dst, '}')
}

func appendOCSFInfo(dst []byte, a *Alert, at time.Time) []byte {
	dst = str(dst, `{"uid":`, a.ID)
	dst = str(dst, `,"title":`, a.Title)
	dst = milliseconds(dst, `,"created_time":`, at)
	if !a.Request.ReceivedAt.IsZero() {
		dst = milliseconds(dst, `,"first_seen_time":`, a.Request.ReceivedAt)
	}
	if !a.Request.CompletedAt.IsZero() {
		dst = milliseconds(dst, `,"last_seen_time":`, a.Request.CompletedAt)
	}
	dst = append(dst, `,"data_sources":["kubernetes-audit"]`...)
	dst = str(dst, `,"types":[`, string(a.Outcome))
	dst = append(dst, ']')
	if len(a.Rules) > 0 {
		dst = appendOCSFAnalytic(append(dst, `,"analytic":`...), &a.Rules[0])
		dst = array(dst, `,"related_analytics":`, a.Rules[1:], appendOCSFAnalytic)
	}
	dst = append(dst, `,"attacks":[`...)
	n := 0
	for i := range a.Attack {
		if t := &a.Attack[i]; t.Technique != "" || t.Tactic != "" || t.TacticID != "" {
			if n++; n > 1 {
				dst = append(dst, ',')
			}
			dst = appendOCSFAttack(dst, t)
		}
	}
	dst = array(dst, `],"related_events":`, a.Related, func(dst []byte, r *Related) []byte {
		dst = str(dst, `{"uid":`, r.AuditID)
		dst = str(dst, `,"title":`, r.Summary)
		return append(dst, '}')
	})
	return append(dst, '}')
}

func appendOCSFAnalytic(dst []byte, r *Rule) []byte {
	dst = str(dst, `{"type_id":1,"type":"Rule","uid":`, r.ID)
	dst = str(dst, `,"name":`, r.Title)
	return append(dst, '}')
}

// appendOCSFAttack puts T1053.007 into sub_technique: its name is that of the sub-technique.
func appendOCSFAttack(dst []byte, t *Technique) []byte {
	key := `{`
	if t.Tactic != "" || t.TacticID != "" {
		dst = appendIDAndName(append(dst, `{"tactic":`...), t.TacticID, t.Tactic)
		key = `,`
	}
	if t.Technique != "" {
		parent, _, sub := strings.Cut(t.Technique, ".")
		name := t.Name
		if sub {
			name = ""
		}
		dst = append(dst, key...)
		dst = appendIDAndName(append(dst, `"technique":`...), parent, name)
		if sub {
			dst = appendIDAndName(append(dst, `,"sub_technique":`...), t.Technique, t.Name)
		}
	}
	return append(dst, '}')
}

// appendIDAndName leaves out what is unknown; one of the two is known.
func appendIDAndName(dst []byte, id, name string) []byte {
	switch {
	case id == "":
		dst = str(dst, `{"name":`, name)
	case name == "":
		dst = str(dst, `{"uid":`, id)
	default:
		dst = str(dst, `{"uid":`, id)
		dst = str(dst, `,"name":`, name)
	}
	return append(dst, '}')
}

func appendOCSFEnrichments(dst []byte, a *Alert) []byte {
	dst = word(dst, `[{"name":"policy","type":"pod_security_level","value":`, string(a.Policy.PSSLevel), "unknown")
	dst = appendPolicy(append(dst, `,"data":`...), &a.Policy)
	dst = str(dst, `},{"name":"network","type":"source_ip","value":`, a.peer())
	dst = appendNetwork(append(dst, `,"data":`...), &a.Network)
	dst = str(dst, `},{"name":"owners","type":"team","value":`, a.Owners.Team)
	dst = appendOwners(append(dst, `,"data":`...), &a.Owners)
	dst = word(dst, `},{"name":"approval","type":"state","value":`, string(a.Approval.State), "unknown")
	dst = appendApproval(append(dst, `,"data":`...), &a.Approval)
	dst = str(dst, `},{"name":"actor","type":"user","value":`, a.Actor.User)
	dst = appendActor(append(dst, `,"data":`...), &a.Actor)
	return append(dst, `}]`...)
}

// appendOCSFRemediation joins the prepared steps: OCSF has one text for all of them.
func appendOCSFRemediation(dst []byte, steps []Response) []byte {
	dst = append(dst, `{"desc":"`...)
	for i := range steps {
		if i > 0 {
			dst = append(dst, `\n`...)
		}
		dst = appendEscaped(dst, steps[i].Title)
		if steps[i].Command != "" {
			dst = append(dst, `: `...)
			dst = appendEscaped(dst, steps[i].Command)
		}
	}
	return append(dst, `"}`...)
}
