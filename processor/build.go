package processor

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/sources"
)

// builder makes the alert that an event says of itself. It owns the lists of the alert it made last, and uses them again.
type builder struct {
	alert alert.Alert
	work  alert.Workload
	title []byte
}

// base fills the alert with everything but enrichment. What it returns is lent until the next call, and no longer than
// the view.
func (b *builder) base(v *audit.View, hits []rules.Hit, cluster string, now time.Time) *alert.Alert {
	old := &b.alert
	a := alert.Alert{
		Rules: old.Rules[:0], Notes: old.Notes[:0], Reasons: old.Reasons[:0],
		ID:         v.ID(cluster),
		Time:       v.Completed,
		DetectedAt: now,
		Outcome:    alert.Outcome(v.Outcome),
		Cluster:    cluster,
		Actor:      actorOf(v),
		Request:    requestOf(v),
	}
	for i := range hits {
		r := hits[i].Rule
		a.Rules = append(a.Rules, alert.Rule{ID: r.ID, Title: r.Title, Level: levelOf(r.Level), Tags: r.Tags, File: r.File})
	}
	slices.SortStableFunc(a.Rules, func(x, y alert.Rule) int {
		if x.Level != y.Level {
			if y.Level.Less(x.Level) {
				return -1
			}
			return 1
		}
		return cmp.Compare(x.ID, y.ID)
	})
	for _, n := range v.Notes {
		a.Notes = append(a.Notes, alert.Note{Code: n.Code, Text: n.Text})
	}
	if v.Outcome != audit.Observed {
		b.workload(v)
		a.Workload = &b.work
	}
	highest := &a.Rules[0]
	a.Reasons = append(a.Reasons, alert.Reason{Code: alert.ReasonRuleLevel, Points: alert.BasePoints(highest.Level), Text: highest.Title})
	a.Score, a.Severity = alert.Assess(a.Reasons, alert.DefaultThresholds())
	b.title = appendTitle(b.title[:0], v)
	a.Title = string(b.title)
	b.alert = a
	return &b.alert
}

// levelOf is the level of a rule; Sigma allows a rule without.
func levelOf(level string) alert.Severity {
	if level == "" {
		return alert.Medium
	}
	return alert.Severity(level)
}

func actorOf(v *audit.View) alert.Actor {
	g := &v.Grant
	return alert.Actor{
		User: v.Actor.Name, Groups: v.Actor.Groups, UID: v.Actor.UID, ImpersonatedBy: v.Actor.ImpersonatedBy.Name,
		UserAgent: v.UserAgent, SourceIPs: v.SourceIPs, Type: alert.ActorType(v.Actor.Type),
		Grant: alert.Grant{
			Known: g.Known, Binding: g.Binding, BindingKind: g.BindingKind, BindingNamespace: g.BindingNamespace,
			Role: g.Role, RoleKind: g.RoleKind, Subject: g.Subject, SubjectKind: g.SubjectKind, Scope: g.Scope, Reason: g.Reason,
		},
	}
}

func requestOf(v *audit.View) alert.Request {
	o := &v.Object
	r := alert.Request{
		AuditID: v.AuditID, Verb: v.Verb, URI: v.RequestURI, Stage: v.Stage, Message: v.StatusMessage, Level: v.Level,
		ReceivedAt: v.Received, CompletedAt: v.Completed,
		Object: alert.Object{Group: o.Group, Version: o.Version, Resource: o.Resource, Subresource: o.Subresource, Namespace: o.Namespace, Name: o.Name},
	}
	if v.Code != 0 {
		r.Code = alert.Number(int64(v.Code))
	}
	return r
}

// workload fills in what the object says of itself; its containers are added by describe.
func (b *builder) workload(v *audit.View) {
	w := &v.Workload
	labels, containers, volumes := b.work.Labels[:0], b.work.Containers[:0], b.work.Volumes[:0]
	b.work = alert.Workload{
		Kind: w.Kind, APIVersion: w.APIVersion, Namespace: w.Namespace, Name: w.Name, NameUnknown: w.NameUnknown,
		GenerateName: w.GenerateName, UID: w.UID, Detail: alert.Detail(w.Detail),
		Owner: alert.Owner{Kind: w.Owner.Kind, Name: w.Owner.Name, UID: w.Owner.UID}, Root: alert.Root(w.Root),
		Controlled: w.Controlled, Replicas: alert.Int(w.Replicas),
		Labels: labels, Containers: containers, Volumes: volumes,
	}
	for _, l := range w.Labels {
		b.work.Labels = append(b.work.Labels, alert.Label(l))
	}
}

// appendTitle writes one line for a person.
func appendTitle(dst []byte, v *audit.View) []byte {
	o := &v.Object
	add := func(words ...string) {
		for _, w := range words {
			dst = append(dst, w...)
		}
	}
	switch v.Outcome {
	case audit.Observed:
		resource := o.Resource
		if o.Subresource != "" {
			resource += "/" + o.Subresource
		}
		add(v.Verb, " ", resource)
		if o.Namespace != "" || o.Name != "" {
			add(" ", strings.TrimPrefix(o.Namespace+"/"+o.Name, "/"))
		}
	default:
		w := &v.Workload
		add(w.Kind, " ", w.Namespace, "/")
		switch {
		case w.Name != "":
			add(w.Name)
		case w.GenerateName != "":
			add(w.GenerateName, "…")
		default:
			add("(name unknown)")
		}
	}
	switch v.Outcome {
	case audit.Created:
		add(" created")
	case audit.Unknown:
		add(" possibly created (the answer was a timeout)")
	case audit.Refused:
		add(" refused")
	case audit.Changed:
		add(" changed")
	case audit.Observed:
	}
	add(" by ", v.Actor.Name)
	if v.Actor.Impersonated {
		add(", impersonated by ", v.Actor.ImpersonatedBy.Name)
	}
	return dst
}

// originOf says where the record came from.
func originOf(o *sources.Origin, r *sources.Record) alert.Origin {
	return alert.Origin{Source: o.Source, Topic: o.Topic, Partition: o.Partition, Offset: r.Offset, Line: r.Line}
}
