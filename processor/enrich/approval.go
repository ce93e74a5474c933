package enrich

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// Allow is one entry of an allow-list: a workload is within it when it matches every list that is given. Entries of a
// list are patterns as of path.Match, in which * does not cross a slash and \\ takes a character as it is; a pattern that
// ends in /** covers all below.
type Allow struct {
	// Name is how alerts call the entry.
	Name       string   `yaml:"name" json:"name"`
	Namespaces []string `yaml:"namespaces" json:"namespaces,omitempty"`
	Kinds      []string `yaml:"kinds" json:"kinds,omitempty"`
	Names      []string `yaml:"names" json:"names,omitempty"`
	// Images match as written ("nginx:1"), or in full with or without the tag and the digest
	// ("docker.io/library/nginx:1", "docker.io/library/nginx").
	Images     []string `yaml:"images" json:"images,omitempty"`
	Registries []string `yaml:"registries" json:"registries,omitempty"`
	// Actors must name the effective user and, where one acts as another, who does so.
	Actors []string `yaml:"actors" json:"actors,omitempty"`
	// Reason is repeated in the alert.
	Reason string `yaml:"reason" json:"reason,omitempty"`
	// Approve turns what matches into approved; otherwise it is merely the intended configuration.
	Approve bool `yaml:"approve" json:"approve"`
}

// Validate reports patterns that cannot be read, and an entry that would allow everything.
func (w *Allow) Validate() error {
	lists := [...][]string{w.Namespaces, w.Kinds, w.Names, w.Images, w.Registries, w.Actors}
	var errs []error
	given := 0
	for _, list := range lists {
		given += len(list)
		for _, p := range list {
			below, _ := strings.CutSuffix(p, "/**")
			switch _, err := path.Match(below, ""); {
			case err != nil:
				errs = append(errs, fmt.Errorf("pattern %q: %w: expected *, ?, [a-z] or \\ before a character", p, err))
			case strings.Contains(below, "**"):
				errs = append(errs, fmt.Errorf("pattern %q: ** stands only at the end, as /**", p))
			}
		}
	}
	if given == 0 {
		errs = append(errs, errors.New("expected at least one of namespaces, kinds, names, images, registries, actors: an entry without any would allow everything"))
	}
	return errors.Join(errs...)
}

// maxDeviations bounds how many deviations an alert repeats: a Pod may have hundreds of containers.
const maxDeviations = 20

// deviations says in words what keeps the alert from being within the entry; none means it is. Images and registries must
// match for every container; where the event does not show them all, they do not.
func (w *Allow) deviations(in *Input, a *alert.Alert) []string {
	var all []string
	add := func(what, value string, patterns []string) {
		if len(patterns) > 0 && len(all) < maxDeviations && !matchesAny(patterns, value) {
			all = append(all, fmt.Sprintf("%s %q is not among %s", what, value, strings.Join(patterns, ", ")))
		}
	}
	add("namespace", a.Workload.Namespace, w.Namespaces)
	add("kind", a.Workload.Kind, w.Kinds)
	add("name", a.Workload.Name, w.Names)
	add("actor", a.Actor.User, w.Actors)
	if a.Actor.ImpersonatedBy != "" {
		add("the actor's impersonator", a.Actor.ImpersonatedBy, w.Actors)
	}
	if len(w.Images)+len(w.Registries) == 0 {
		return all
	}
	if !in.complete() {
		return append(all, "the event does not show all images")
	}
	for i := range a.Workload.Containers {
		image := &a.Workload.Containers[i].Image
		if len(w.Images) > 0 && !imageMatches(w.Images, image) {
			add("image", image.Raw, w.Images)
		}
		add("registry", image.Registry, w.Registries)
	}
	return all
}

// imageMatches tries an image as written, and in full.
func imageMatches(patterns []string, image *alert.Image) bool {
	if matchesAny(patterns, image.Raw) {
		return true
	}
	if image.Repository == "" {
		return false
	}
	full := image.Registry + "/" + image.Repository
	return matchesAny(patterns, full) || image.Tag != "" && matchesAny(patterns, full+":"+image.Tag) ||
		image.Digest != "" && matchesAny(patterns, full+"@"+image.Digest)
}

func matchesAny(patterns []string, value string) bool {
	for _, p := range patterns {
		if matches(p, value) {
			return true
		}
	}
	return false
}

func matches(pattern, value string) bool {
	if below, ok := strings.CutSuffix(pattern, "/**"); ok {
		// As many parts as the pattern has, and something below them.
		at := 0
		for range strings.Count(below, "/") + 1 {
			slash := strings.IndexByte(value[at:], '/')
			if slash < 0 {
				return false
			}
			at += slash + 1
		}
		value, pattern = value[:at-1], below
	}
	ok, err := path.Match(pattern, value)
	return ok && err == nil
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
	var nearest []string
	var within *Allow
	for i := range e.options.Allow {
		w := &e.options.Allow[i]
		missing := w.deviations(in, a)
		switch {
		case len(missing) == 0 && w.Approve:
			within = w
		case len(missing) == 0 && within == nil:
			within = w
		case nearest == nil || len(missing) < len(nearest):
			nearest = missing
		}
		if within != nil && within.Approve {
			break
		}
	}
	if within != nil {
		a.Policy.Intended = alert.Intended{State: alert.IntendedYes, By: within.Name}
		if within.Approve && a.Approval.State != alert.Approved {
			a.Approval = alert.Approval{State: alert.Approved, By: within.Name, Reason: within.Reason}
		}
		return nil
	}
	a.Policy.Intended = alert.Intended{State: alert.IntendedNo, Deviations: nearest}
	if a.Approval.State == alert.Unapproved {
		a.Approval.Deviations = nearest
	}
	return nil
}
