package alert

import (
	"strings"
	"time"
)

// ECSVersion is the version of the Elastic Common Schema that [AppendECS] writes.
const ECSVersion = "9.0.0"

// AppendECS appends the alert as a document of the Elastic Common Schema 9. What ECS has a field for is there; the whole
// of what was found out, which it has not, is under "spawnwatch" in its native form. Map that one as flattened: labels
// bring keys of any number.
//
// As in ECS, user is who authenticated and user.effective the impersonated one, source.ip is the peer's address alone,
// and container is one container: the first privileged one, else the first. A field is left out where its value is not
// known.
func AppendECS(dst []byte, a *Alert) []byte {
	at := a.Time
	if at.IsZero() {
		at = a.DetectedAt
	}
	if at.IsZero() {
		at = time.Unix(0, 0) // a data stream takes no document without a time
	}
	dst = stamp(dst, `{"@timestamp":`, at)
	dst = append(dst, `,"ecs":{"version":"`+ECSVersion+`"}`...)
	dst = str(dst, `,"message":`, a.Title)
	dst = appendECSEvent(dst, a)
	dst = append(dst, `,"observer":{"vendor":"spawnwatch","product":"spawnwatch","type":"audit"}`...)
	dst = appendECSOrchestrator(dst, a)
	if len(a.Rules) > 0 {
		r := &a.Rules[0]
		dst = str(dst, `,"rule":{"id":`, r.ID)
		dst = str(dst, `,"name":`, r.Title)
		dst = known(dst, `,"reference":`, a.Owners.Runbook)
		dst = append(dst, '}')
	}
	dst = appendECSThreat(dst, a.Attack)
	dst = appendECSActor(dst, a)
	dst = appendECSContainer(dst, a.Workload)
	dst = appendECSSpawnwatch(append(dst, `,"spawnwatch":`...), a)
	return append(dst, '}')
}

// appendECSEvent categorises: event.type is one of those that ECS expects for the category.
func appendECSEvent(dst []byte, a *Alert) []byte {
	kind, outcome := "info", "unknown"
	switch a.Outcome {
	case Created:
		kind, outcome = "creation", "success"
	case Changed:
		kind, outcome = "change", "success"
	case Refused:
		kind, outcome = "denied", "failure"
	case Observed:
		if a.Request.Code.Known {
			outcome = "success"
			if a.Request.Code.N >= 400 {
				outcome = "failure"
			}
		}
	case Unknown:
		kind = "creation"
	}
	dst = str(dst, `,"event":{"kind":"alert","category":["configuration","intrusion_detection"],"type":[`, kind)
	dst = str(dst, `],"outcome":`, outcome)
	dst = append(dst, `,"module":"spawnwatch","dataset":"spawnwatch.alert","provider":"kube-apiserver"`...)
	dst = str(dst, `,"id":`, a.ID)
	dst = known(dst, `,"action":`, a.Request.Verb)
	dst = integer(dst, `,"severity":`, int64(a.Severity.rank()))
	dst = integer(dst, `,"risk_score":`, int64(a.Score))
	if len(a.Reasons) > 0 {
		dst = append(dst, `,"reason":"`...)
		for i := range a.Reasons {
			if i > 0 {
				dst = append(dst, "; "...)
			}
			dst = appendEscaped(dst, a.Reasons[i].Text)
		}
		dst = append(dst, '"')
	}
	if !a.Request.ReceivedAt.IsZero() {
		dst = stamp(dst, `,"start":`, a.Request.ReceivedAt)
	}
	if !a.Request.CompletedAt.IsZero() {
		dst = stamp(dst, `,"end":`, a.Request.CompletedAt)
	}
	if !a.DetectedAt.IsZero() {
		dst = stamp(dst, `,"created":`, a.DetectedAt)
	}
	return append(dst, '}')
}

func appendECSOrchestrator(dst []byte, a *Alert) []byte {
	o := a.target()
	dst = append(dst, `,"orchestrator":{"type":"kubernetes"`...)
	if a.Cluster != "" {
		dst = append(str(dst, `,"cluster":{"name":`, a.Cluster), '}')
	}
	dst = known(dst, `,"namespace":`, o.Namespace)
	w := a.Workload
	if w == nil {
		dst = known(dst, `,"api_version":`, o.Version)
		dst = str(dst, `,"resource":{"type":`, o.Resource)
		dst = known(dst, `,"name":`, o.Name)
		return append(dst, `}}`...)
	}
	dst = known(dst, `,"api_version":`, w.APIVersion)
	dst = str(dst, `,"resource":{"type":`, w.Kind)
	dst = known(dst, `,"name":`, w.Name)
	dst = known(dst, `,"id":`, w.UID)
	if w.Owner.Kind != "" {
		dst = append(str(dst, `,"parent":{"type":`, w.Owner.Kind), '}')
	}
	if len(w.Labels) > 0 {
		dst = array(dst, `,"label":`, w.Labels, func(dst []byte, l *Label) []byte {
			dst = appendEscaped(append(dst, '"'), l.Key)
			dst = appendEscaped(append(dst, ':'), l.Value)
			return append(dst, '"')
		})
	}
	return append(dst, `}}`...)
}

// appendECSThreat writes lists side by side, as ECS has them; a technique such as T1053.007 gives its parent too.
func appendECSThreat(dst []byte, attack []Technique) []byte {
	if len(attack) == 0 {
		return dst
	}
	dst = append(dst, `,"threat":{"framework":"MITRE ATT&CK"`...)
	dst = appendECSList(append(dst, `,"tactic":{"id":`...), attack, func(t *Technique) string { return t.TacticID })
	dst = appendECSList(append(dst, `,"name":`...), attack, func(t *Technique) string { return t.Tactic })
	dst = appendECSList(append(dst, `},"technique":{"id":`...), attack, func(t *Technique) string {
		parent, _, _ := strings.Cut(t.Technique, ".")
		return parent
	})
	dst = appendECSList(append(dst, `,"name":`...), attack, func(t *Technique) string {
		if strings.Contains(t.Technique, ".") {
			return ""
		}
		return t.Name
	})
	dst = appendECSList(append(dst, `,"subtechnique":{"id":`...), attack, func(t *Technique) string {
		if strings.Contains(t.Technique, ".") {
			return t.Technique
		}
		return ""
	})
	dst = appendECSList(append(dst, `,"name":`...), attack, func(t *Technique) string {
		if strings.Contains(t.Technique, ".") {
			return t.Name
		}
		return ""
	})
	return append(dst, `}}}`...)
}

// appendECSList appends the texts that are known, each once.
func appendECSList(dst []byte, attack []Technique, text func(*Technique) string) []byte {
	dst = append(dst, '[')
	n := 0
next:
	for i := range attack {
		s := text(&attack[i])
		if s == "" {
			continue
		}
		for j := range i {
			if text(&attack[j]) == s {
				continue next
			}
		}
		if n++; n > 1 {
			dst = append(dst, ',')
		}
		dst = appendString(dst, s)
	}
	return append(dst, ']')
}

func appendECSActor(dst []byte, a *Alert) []byte {
	u := &a.Actor
	if u.ImpersonatedBy != "" {
		dst = str(dst, `,"user":{"name":`, u.ImpersonatedBy)
		dst = str(dst, `,"effective":{"name":`, u.User)
		dst = known(dst, `,"id":`, u.UID)
		dst = append(dst, '}')
	} else {
		dst = str(dst, `,"user":{"name":`, u.User)
		dst = known(dst, `,"id":`, u.UID)
	}
	dst = append(dst, '}')
	peer := a.peer()
	if peer != "" {
		dst = str(dst, `,"source":{"address":`, peer)
		if isAddress(peer) {
			dst = str(dst, `,"ip":`, peer)
		}
		dst = append(dst, '}')
	}
	if u.UserAgent != "" {
		dst = append(str(dst, `,"user_agent":{"original":`, u.UserAgent), '}')
	}
	dst = str(dst, `,"related":{"user":[`, u.User)
	if u.ImpersonatedBy != "" && u.ImpersonatedBy != u.User {
		dst = str(dst, `,`, u.ImpersonatedBy)
	}
	dst = append(dst, `],"ip":[`...)
	n := 0
	for _, ip := range u.SourceIPs {
		if isAddress(ip) {
			if n++; n > 1 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, ip)
		}
	}
	path, query, _ := strings.Cut(a.Request.URI, "?")
	dst = str(dst, `]},"url":{"original":`, a.Request.URI)
	dst = known(dst, `,"path":`, path)
	dst = known(dst, `,"query":`, query)
	dst = str(dst, `},"http":{"request":{"id":`, a.Request.AuditID)
	dst = known(dst, `,"method":`, httpMethod(a.Request.Verb))
	dst = append(dst, '}')
	if a.Request.Code.Known {
		dst = append(integer(dst, `,"response":{"status_code":`, a.Request.Code.N), '}')
	}
	return append(dst, '}')
}

func appendECSContainer(dst []byte, w *Workload) []byte {
	if w == nil || len(w.Containers) == 0 {
		return dst
	}
	c := &w.Containers[0]
	for i := range w.Containers {
		if w.Containers[i].Security.Privileged == True {
			c = &w.Containers[i]
			break
		}
	}
	dst = str(dst, `,"container":{"name":`, c.Name)
	dst = append(dst, `,"image":{"name":"`...)
	if c.Image.Repository != "" {
		dst = appendEscaped(dst, c.Image.Registry)
		dst = appendEscaped(append(dst, '/'), c.Image.Repository)
	} else {
		dst = appendEscaped(dst, c.Image.Raw)
	}
	dst = append(dst, '"')
	if c.Image.Tag != "" {
		dst = append(str(dst, `,"tag":[`, c.Image.Tag), ']')
	}
	if c.Image.Digest != "" {
		dst = append(str(dst, `,"hash":{"all":[`, c.Image.Digest), `]}`...)
	}
	dst = append(dst, '}')
	if c.Security.Privileged != Unset {
		dst = append(tristate(dst, `,"security_context":{"privileged":`, c.Security.Privileged), '}')
	}
	return append(dst, '}')
}

func appendECSSpawnwatch(dst []byte, a *Alert) []byte {
	dst = str(dst, `{"schema":"`+SchemaName+`","outcome":`, string(a.Outcome))
	dst = str(dst, `,"severity":`, string(a.Severity))
	dst = array(dst, `,"reasons":`, a.Reasons, appendReason)
	dst = array(dst, `,"rules":`, a.Rules, appendRule)
	if a.Workload != nil {
		dst = appendWorkload(append(dst, `,"workload":`...), a.Workload)
	}
	dst = appendActor(append(dst, `,"actor":`...), &a.Actor)
	dst = appendRequest(append(dst, `,"request":`...), &a.Request)
	dst = appendPolicy(append(dst, `,"policy":`...), &a.Policy)
	dst = appendNetwork(append(dst, `,"network":`...), &a.Network)
	dst = appendOwners(append(dst, `,"owners":`...), &a.Owners)
	dst = array(dst, `,"related":`, a.Related, appendRelated)
	dst = array(dst, `,"investigate":`, a.Investigate, appendStep)
	dst = array(dst, `,"respond":`, a.Respond, appendResponse)
	dst = appendApproval(append(dst, `,"approval":`...), &a.Approval)
	dst = appendOrigin(append(dst, `,"origin":`...), &a.Origin)
	if len(a.Event) > 0 {
		dst = appendRaw(append(dst, `,"event":`...), a.Event)
	}
	dst = array(dst, `,"notes":`, a.Notes, appendNote)
	return append(dst, '}')
}
