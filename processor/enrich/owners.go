package enrich

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// ownerKey says which label or annotation tells what about the owners of a workload.
type ownerKey struct {
	key string
	set func(o *alert.Owners, value string)
}

// ownerKeys are the labels and annotations in common use, the more specific first: the recommended labels of Kubernetes,
// the a8r.io annotations for services, Helm, Argo CD, Flux, Backstage.
func ownerKeys() []ownerKey {
	team := func(o *alert.Owners, v string) { setOnce(&o.Team, v) }
	contact := func(o *alert.Owners, v string) { setOnce(&o.Contact, v) }
	chat := func(o *alert.Owners, v string) { setOnce(&o.Chat, v) }
	runbook := func(o *alert.Owners, v string) { setOnce(&o.Runbook, v) }
	application := func(o *alert.Owners, v string) { setOnce(&o.Application, v) }
	manager := func(o *alert.Owners, v string) { setOnce(&o.ManagedBy, v) }
	repository := func(o *alert.Owners, v string) { setOnce(&o.Repository, v) }
	by := func(tool string) func(*alert.Owners, string) {
		return func(o *alert.Owners, _ string) { setOnce(&o.ManagedBy, tool) }
	}
	return []ownerKey{
		{"a8r.io/owner", team},
		{"backstage.io/owner", team},
		{"owner", team},
		{"team", team},
		{"app.kubernetes.io/team", team},
		{"contact", contact},
		{"a8r.io/support", contact},
		{"email", contact},
		{"a8r.io/chat", chat},
		{"slack", chat},
		{"a8r.io/runbook", runbook},
		{"runbook", runbook},
		{"a8r.io/repository", repository},
		{"backstage.io/source-location", repository},
		{"app.kubernetes.io/repository", repository},
		{"app.kubernetes.io/part-of", application},
		{"backstage.io/kubernetes-id", application},
		{"argocd.argoproj.io/instance", application},
		{"meta.helm.sh/release-name", application},
		{"app.kubernetes.io/instance", application},
		{"app.kubernetes.io/name", application},
		{"app", application},
		{"argocd.argoproj.io/tracking-id", by("Argo CD")},
		{"argocd.argoproj.io/instance", by("Argo CD")},
		{"kustomize.toolkit.fluxcd.io/name", by("Flux")},
		{"helm.toolkit.fluxcd.io/name", by("Flux")},
		{"meta.helm.sh/release-name", by("Helm")},
		{"app.kubernetes.io/managed-by", manager},
	}
}

func setOnce(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// OwnerKey is a label or annotation of one's own that tells about the owners of a workload.
type OwnerKey struct {
	// Key is the label or annotation, as example.com/squad.
	Key string `yaml:"key"`
	// Field is what it tells: team, contact, chat, runbook, application, managed_by or repository.
	Field string `yaml:"field"`
}

func ownOwnerKeys(keys []OwnerKey) ([]ownerKey, error) {
	var all []ownerKey
	for i, k := range keys {
		if err := checkAnnotation(k.Key); err != nil {
			return nil, fmt.Errorf("owner_keys[%d]: %w", i, err)
		}
		var field func(*alert.Owners) *string
		switch k.Field {
		case "team":
			field = func(o *alert.Owners) *string { return &o.Team }
		case "contact":
			field = func(o *alert.Owners) *string { return &o.Contact }
		case "chat":
			field = func(o *alert.Owners) *string { return &o.Chat }
		case "runbook":
			field = func(o *alert.Owners) *string { return &o.Runbook }
		case "application":
			field = func(o *alert.Owners) *string { return &o.Application }
		case "managed_by":
			field = func(o *alert.Owners) *string { return &o.ManagedBy }
		case "repository":
			field = func(o *alert.Owners) *string { return &o.Repository }
		default:
			return nil, fmt.Errorf("owner_keys[%d]: expected field team, contact, chat, runbook, application, managed_by or repository, got %q", i, k.Field)
		}
		all = append(all, ownerKey{k.Key, func(o *alert.Owners, v string) { setOnce(field(o), v) }})
	}
	return all, nil
}

// owners answers whom to ask: from the labels and annotations of the workload, which are its maker's claims, then from the
// team file.
func (e *Enricher) owners(in *Input, a *alert.Alert) error {
	o := &a.Owners
	var sources []string
	use := func(source string, set func()) {
		before := *o
		set()
		if !sameOwners(&before, o) && !slices.Contains(sources, source) {
			sources = append(sources, source)
		}
	}
	if a.Workload != nil {
		for _, k := range e.ownerKeys {
			value, where := in.label(k.key), "label "
			if value == "" {
				value, where = in.annotation(k.key), "annotation "
			}
			if value == "" {
				continue
			}
			value = labelText(k.key, value)
			use(where+k.key, func() { k.set(o, value) })
			if !hasLabel(o.Labels, k.key) {
				o.Labels = append(o.Labels, alert.Label{Key: k.key, Value: value})
			}
		}
	}
	if t, ok := e.team(a.Request.Object.Namespace); ok {
		use("team file", func() {
			setOnce(&o.Team, t.Team)
			setOnce(&o.Contact, t.Contact)
			setOnce(&o.Chat, t.Chat)
			setOnce(&o.Runbook, t.Runbook)
		})
	}
	o.Source = strings.Join(sources, ", ")
	return nil
}

func sameOwners(a, b *alert.Owners) bool {
	return a.Team == b.Team && a.Contact == b.Contact && a.Chat == b.Chat && a.Runbook == b.Runbook &&
		a.Application == b.Application && a.ManagedBy == b.ManagedBy && a.Repository == b.Repository
}

func hasLabel(labels []alert.Label, key string) bool {
	for i := range labels {
		if labels[i].Key == key {
			return true
		}
	}
	return false
}

// Team is whom a namespace belongs to.
type Team struct {
	Team    string `yaml:"team"`
	Contact string `yaml:"contact"`
	Chat    string `yaml:"chat"`
	Runbook string `yaml:"runbook"`
}

// team finds the team of a namespace: by its name, else by the longest prefix that is given as "prefix*".
func (e *Enricher) team(namespace string) (Team, bool) {
	if t, ok := e.options.Teams[namespace]; ok {
		return t, true
	}
	best, found := "", false
	for pattern := range e.options.Teams {
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok && strings.HasPrefix(namespace, prefix) && (!found || len(pattern) > len(best)) {
			best, found = pattern, true
		}
	}
	return e.options.Teams[best], found
}
