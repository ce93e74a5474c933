package alert

import (
	"strconv"
	"time"
)

// AppendFalco appends the alert as Falco writes alerts in JSON (json_output), with the fields of its plugin k8saudit, so
// that falcosidekick and what else reads Falco's alerts takes it: uuid, output, priority, rule, time, source, hostname,
// tags and output_fields. What Falco has no field for begins with "spawnwatch.".
//
// Every output field is a string, because readers of Falco's JSON drop or trip over other types; lists are written
// (a,b). A field is left out where its value is not known. The time is never null: readers take that for a broken alert.
func AppendFalco(dst []byte, a *Alert) []byte {
	priority := falcoPriority(a.Severity)
	dst = str(dst, `{"uuid":`, a.ID)
	dst = append(dst, `,"output":"`...)
	dst = append(append(dst, priority...), ' ')
	dst = appendEscaped(dst, a.Title)
	dst = appendEscaped(append(dst, ` (outcome=`...), string(a.Outcome))
	dst = appendEscaped(append(dst, ` user=`...), a.Actor.User)
	dst = appendEscaped(append(dst, ` ns=`...), a.target().Namespace)
	dst = appendEscaped(append(dst, ` resource=`...), a.Request.Object.Resource)
	dst = appendEscaped(append(dst, ` name=`...), a.target().Name)
	if a.Workload != nil {
		dst = appendTuple(append(dst, ` image=`...), a.Workload.Containers, imageRaw)
	}
	dst = append(dst, `)"`...)
	dst = str(dst, `,"priority":`, priority)
	rule := ""
	if len(a.Rules) > 0 {
		rule = a.Rules[0].Title
	}
	dst = str(dst, `,"rule":`, rule)
	at := a.Time
	if at.IsZero() {
		at = a.DetectedAt
	}
	if at.IsZero() {
		at = time.Unix(0, 0)
	}
	dst = stamp(dst, `,"time":`, at)
	dst = str(dst, `,"source":"k8s_audit","hostname":`, a.Cluster)
	dst = append(dst, `,"tags":[`...)
	n := 0
	for i := range a.Rules {
		for _, tag := range a.Rules[i].Tags {
			if n++; n > 1 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, tag)
		}
	}
	dst = append(dst, `],"output_fields":`...)
	dst = appendFalcoFields(dst, a)
	return append(dst, '}')
}

func falcoPriority(s Severity) string {
	switch s {
	case Critical:
		return "Critical"
	case High:
		return "Error"
	case Medium:
		return "Warning"
	case Low:
		return "Notice"
	default:
		return "Informational"
	}
}

// target is what the request was about: the name that the answer told, where objectRef has none.
func (a *Alert) target() Object {
	o := a.Request.Object
	if w := a.Workload; w != nil {
		o.Namespace, o.Name = w.Namespace, w.Name
	}
	return o
}

func appendFalcoFields(dst []byte, a *Alert) []byte {
	r, target := &a.Request, a.target()
	user, impersonated := a.Actor.User, ""
	if a.Actor.ImpersonatedBy != "" {
		user, impersonated = a.Actor.ImpersonatedBy, a.Actor.User
	}
	dst = str(dst, `{"ka.user.name":`, user)
	dst = known(dst, `,"ka.impuser.name":`, impersonated)
	if len(a.Actor.Groups) > 0 {
		dst = append(dst, `,"ka.user.groups":"`...)
		dst = append(appendTuple(dst, a.Actor.Groups, func(s *string) string { return *s }), '"')
	}
	if len(a.Actor.SourceIPs) > 0 {
		dst = append(dst, `,"ka.sourceips":"`...)
		dst = append(appendTuple(dst, a.Actor.SourceIPs, func(s *string) string { return *s }), '"')
	}
	dst = known(dst, `,"ka.auditid":`, r.AuditID)
	dst = known(dst, `,"ka.stage":`, r.Stage)
	dst = known(dst, `,"ka.auth.reason":`, a.Actor.Grant.Reason)
	dst = known(dst, `,"ka.verb":`, r.Verb)
	dst = known(dst, `,"ka.uri":`, r.URI)
	dst = known(dst, `,"ka.target.name":`, target.Name)
	dst = known(dst, `,"ka.target.namespace":`, target.Namespace)
	dst = known(dst, `,"ka.target.resource":`, target.Resource)
	dst = known(dst, `,"ka.target.subresource":`, target.Subresource)
	dst = known(dst, `,"ka.useragent":`, a.Actor.UserAgent)
	if r.Code.Known {
		dst = append(dst, `,"ka.response.code":"`...)
		dst = append(strconv.AppendInt(dst, r.Code.N, 10), '"')
	}
	dst = known(dst, `,"spawnwatch.request.message":`, r.Message)
	if w := a.Workload; w != nil {
		dst = known(dst, `,"ka.resp.name":`, w.Name)
		dst = appendFalcoPod(dst, w)
		dst = appendHostPaths(dst, w.Volumes)
		dst = fact(dst, `,"ka.req.pod.host_network":`, a.Network.HostNetwork)
		dst = fact(dst, `,"ka.req.pod.host_pid":`, w.HostPID)
		dst = fact(dst, `,"ka.req.pod.host_ipc":`, w.HostIPC)
		dst = known(dst, `,"spawnwatch.workload.kind":`, w.Kind)
		dst = known(dst, `,"spawnwatch.workload.uid":`, w.UID)
		dst = known(dst, `,"spawnwatch.workload.service_account":`, w.ServiceAccount)
		dst = known(dst, `,"spawnwatch.workload.root.kind":`, w.Root.Kind)
		dst = known(dst, `,"spawnwatch.workload.root.name":`, w.Root.Name)
	}
	dst = known(dst, `,"spawnwatch.cluster":`, a.Cluster)
	dst = str(dst, `,"spawnwatch.outcome":`, string(a.Outcome))
	dst = str(dst, `,"spawnwatch.severity":`, string(a.Severity))
	dst = append(dst, `,"spawnwatch.score":"`...)
	dst = append(strconv.AppendInt(dst, int64(a.Score), 10), '"')
	if len(a.Reasons) > 0 {
		dst = append(dst, `,"spawnwatch.reasons":"`...)
		dst = append(appendTuple(dst, a.Reasons, func(r *Reason) string { return r.Text }), '"')
	}
	dst = known(dst, `,"spawnwatch.source_ip":`, a.peer())
	dst = known(dst, `,"spawnwatch.policy.pss_level":`, string(a.Policy.PSSLevel))
	dst = known(dst, `,"spawnwatch.owners.team":`, a.Owners.Team)
	dst = known(dst, `,"spawnwatch.owners.runbook":`, a.Owners.Runbook)
	dst = known(dst, `,"spawnwatch.approval.state":`, string(a.Approval.State))
	dst = known(dst, `,"spawnwatch.approval.ticket":`, a.Approval.Ticket)
	return append(dst, '}')
}

func appendFalcoPod(dst []byte, w *Workload) []byte {
	if len(w.Containers) == 0 {
		return dst
	}
	dst = append(dst, `,"ka.req.pod.containers.image":"`...)
	dst = append(appendTuple(dst, w.Containers, imageRaw), '"')
	dst = append(dst, `,"ka.req.pod.containers.image.repository":"`...)
	dst = append(appendTuple(dst, w.Containers, func(c *Container) string { return c.Image.Repository }), '"')
	dst = append(dst, `,"ka.req.pod.containers.privileged":"`...)
	return append(appendTuple(dst, w.Containers, func(c *Container) string {
		if c.Security.Privileged == True {
			return "true"
		}
		return "false"
	}), '"')
}

// appendHostPaths appends the paths of the volumes that are paths of the node, if there are any.
func appendHostPaths(dst []byte, volumes []Volume) []byte {
	n := 0
	for i := range volumes {
		if volumes[i].Type != "hostPath" {
			continue
		}
		if n++; n == 1 {
			dst = append(dst, `,"ka.req.pod.volumes.hostpath":"(`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendEscaped(dst, volumes[i].Detail)
	}
	if n > 0 {
		dst = append(dst, `)"`...)
	}
	return dst
}

func imageRaw(c *Container) string { return c.Image.Raw }

// appendTuple appends (a,b) as the inside of a JSON string.
func appendTuple[T any](dst []byte, list []T, text func(*T) string) []byte {
	dst = append(dst, '(')
	for i := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendEscaped(dst, text(&list[i]))
	}
	return append(dst, ')')
}

// known leaves out an empty text.
func known(dst []byte, key, s string) []byte {
	if s == "" {
		return dst
	}
	return str(dst, key, s)
}

// fact appends a flag as a text and leaves out an unset one.
func fact(dst []byte, key string, b Bool) []byte {
	switch b {
	case True:
		return str(dst, key, "true")
	case False:
		return str(dst, key, "false")
	default:
		return dst
	}
}
