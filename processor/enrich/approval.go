package enrich

import (
	"fmt"
	"path"
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// Allow is one entry of an allow-list: a workload is within it when it matches every list that is given. Entries of a
// list are patterns as of path.Match, in which * does not cross a slash; a pattern that ends in /** covers all below.
type Allow struct {
	// Name is how alerts call the entry.
	Name       string   `yaml:"name"`
	Namespaces []string `yaml:"namespaces"`
	Kinds      []string `yaml:"kinds"`
	Names      []string `yaml:"names"`
	Images     []string `yaml:"images"`
	Registries []string `yaml:"registries"`
	Actors     []string `yaml:"actors"`
	// Reason is repeated in the alert.
	Reason string `yaml:"reason"`
	// Approve turns what matches into approved; otherwise it is merely the intended configuration.
	Approve bool `yaml:"approve"`
}

// Validate reports patterns that cannot be read, and an entry that would allow everything.
func (w *Allow) Validate() error {
	if len(w.Namespaces)+len(w.Kinds)+len(w.Names)+len(w.Images)+len(w.Registries)+len(w.Actors) == 0 {
		return fmt.Errorf("expected at least one of namespaces, kinds, names, images, registries, actors: an entry without any would allow everything")
	}
	for _, list := range [][]string{w.Namespaces, w.Kinds, w.Names, w.Images, w.Registries, w.Actors} {
		for _, p := range list {
			if _, err := path.Match(p, ""); err != nil {
				return fmt.Errorf("pattern %q: %w", p, err)
			}
		}
	}
	return nil
}

// deviations says in words what keeps the alert from being within the entry; none means it is. Images and registries must
// match for every container.
func (w *Allow) deviations(a *alert.Alert) []string {
	var all []string
	add := func(what, value string, patterns []string) {
		if len(patterns) > 0 && !matchesAny(patterns, value) {
			all = append(all, fmt.Sprintf("%s %q is not among %s", what, value, strings.Join(patterns, ", ")))
		}
	}
	add("namespace", a.Workload.Namespace, w.Namespaces)
	add("kind", a.Workload.Kind, w.Kinds)
	add("name", a.Workload.Name, w.Names)
	add("actor", a.Actor.User, w.Actors)
	if len(w.Images)+len(w.Registries) > 0 && a.Workload.Detail != alert.DetailFull {
		return append(all, "the event does not show the images")
	}
	for i := range a.Workload.Containers {
		image := &a.Workload.Containers[i].Image
		if len(w.Images) > 0 && !matchesAny(w.Images, image.Raw) && !matchesAny(w.Images, image.Registry+"/"+image.Repository) {
			all = append(all, fmt.Sprintf("image %q is not among %s", image.Raw, strings.Join(w.Images, ", ")))
		}
		add("registry", image.Registry, w.Registries)
	}
	return all
}

func matchesAny(patterns []string, value string) bool {
	for _, p := range patterns {
		if below, ok := strings.CutSuffix(p, "/**"); ok && strings.HasPrefix(value, below+"/") {
			return true
		}
		if ok, err := path.Match(p, value); ok && err == nil {
			return true
		}
	}
	return false
}

// approve compares the workload with the allow-lists and looks for a change ticket. Approval never silences an alert.
func (e *Enricher) approve(in *Input, a *alert.Alert) error {
	if a.Workload == nil {
		a.Approval.State, a.Policy.Intended.State = alert.ApprovalUnknown, alert.IntendedUnknown
		return nil
	}
	ticket := in.annotation(e.options.TicketAnnotation)
	switch {
	case ticket != "":
		a.Approval = alert.Approval{State: alert.Approved, By: "annotation " + e.options.TicketAnnotation, Ticket: Text(ticket)}
	case len(e.options.Allow) == 0:
		a.Approval.State = alert.ApprovalUnknown
	default:
		a.Approval.State = alert.Unapproved
	}
	if len(e.options.Allow) == 0 {
		a.Policy.Intended.State = alert.IntendedUnknown
		return nil
	}
	nearest := []string(nil)
	for i := range e.options.Allow {
		w := &e.options.Allow[i]
		missing := w.deviations(a)
		if len(missing) == 0 {
			a.Policy.Intended = alert.Intended{State: alert.IntendedYes, By: w.Name}
			if w.Approve && a.Approval.State != alert.Approved {
				a.Approval = alert.Approval{State: alert.Approved, By: w.Name, Reason: w.Reason}
			}
			return nil
		}
		if nearest == nil || len(missing) < len(nearest) {
			nearest = missing
		}
	}
	a.Policy.Intended = alert.Intended{State: alert.IntendedNo, Deviations: nearest}
	if a.Approval.State == alert.Unapproved {
		a.Approval.Deviations = nearest
	}
	return nil
}
