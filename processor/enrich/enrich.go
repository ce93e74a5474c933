// Package enrich adds to an alert what can be known about the workload, its actor and its surroundings without asking
// anybody: from the event itself and from files that were read before. One file per enricher.
package enrich

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spawnwatch/spawnwatch/processor/alert"
	"github.com/spawnwatch/spawnwatch/processor/audit"
)

// Options are what a user says about enrichment. The zero value of each is its default.
type Options struct {
	// Networks are address ranges of one's own, the narrowest first (see [ParseNetworks]).
	Networks []Network
	// Teams are the owners of namespaces: by name, or by prefix as "shop-*".
	Teams map[string]Team
	// Allow are the allow-lists, in the order in which they are tried.
	Allow []Allow
	// TicketAnnotation is the annotation that holds a change ticket; default: spawnwatch.io/change-ticket.
	TicketAnnotation string
	// Thresholds turn a score into a severity; default: [alert.DefaultThresholds].
	Thresholds alert.Thresholds
	// OwnerKeys are labels and annotations of one's own that tell about owners; they are tried before those in common use.
	OwnerKeys []OwnerKey
	// SnapshotCluster is the cluster whose roles the snapshot holds: alerts of another get no answer out of it. Empty takes
	// it for all.
	SnapshotCluster string
	// Event says what becomes of the audit event in the alert; default: redacted.
	Event EventMode
	// Budget is how long the enrichment of one alert may take; default: 2 s. Beyond it the alert goes out with what the
	// event says of itself, and a note.
	Budget time.Duration
	// Failed is told of every enricher that failed; default: nobody.
	Failed func(enricher string)
}

// EventMode says what becomes of the audit event in the alert.
type EventMode string

const (
	// EventRedacted includes it without what may be secret.
	EventRedacted EventMode = "redacted"
	// EventFull includes it as it is.
	EventFull EventMode = "full"
	// EventNone leaves it out.
	EventNone EventMode = "none"
)

// Enricher runs all enrichers over an alert. It is safe for concurrent use.
type Enricher struct {
	options   Options
	steps     []step
	ownerKeys []ownerKey
	dangers   []dangerousRight
	security  *podSecurity
	// techniques and tactics are those of ATT&CK, by id and by name.
	techniques map[string]technique
	tactics    map[string]string
	snapshot   atomic.Pointer[Snapshot]
}

// step is one enricher. Later ones build on what earlier ones found.
type step struct {
	name string
	run  func(in *Input, a *alert.Alert) error
}

// New checks the options.
func New(o Options) (*Enricher, error) {
	if o.TicketAnnotation == "" {
		o.TicketAnnotation = "spawnwatch.io/change-ticket"
	}
	if o.Thresholds == (alert.Thresholds{}) {
		o.Thresholds = alert.DefaultThresholds()
	}
	if err := o.Thresholds.Validate(); err != nil {
		return nil, fmt.Errorf("thresholds: %w", err)
	}
	for i := range o.Allow {
		if err := o.Allow[i].Validate(); err != nil {
			return nil, fmt.Errorf("allow[%d]: %w", i, err)
		}
	}
	if err := checkAnnotation(o.TicketAnnotation); err != nil {
		return nil, fmt.Errorf("ticket_annotation: %w", err)
	}
	own, err := ownOwnerKeys(o.OwnerKeys)
	if err != nil {
		return nil, err
	}
	switch o.Event {
	case "":
		o.Event = EventRedacted
	case EventRedacted, EventFull, EventNone:
	default:
		return nil, fmt.Errorf("event: expected full, redacted or none, got %q", o.Event)
	}
	if o.Budget <= 0 {
		o.Budget = 2 * time.Second
	}
	if o.Failed == nil {
		o.Failed = func(string) {}
	}
	e := &Enricher{options: o, ownerKeys: append(own, ownerKeys()...), dangers: dangerousRights(), security: newPodSecurity(), techniques: techniqueTable(), tactics: tacticTable()}
	e.steps = []step{
		{"workload", e.describe},
		{"images", e.images},
		{"policy", e.policy},
		{"network", e.network},
		{"rights", e.rights},
		{"owners", e.owners},
		{"approval", e.approve},
		{"attack", e.attack},
		{"findings", e.findings},
		{"score", e.score},
		{"redaction", e.redact},
		{"investigate", e.investigate},
		{"respond", e.respond},
		{"event", e.event},
	}
	return e, nil
}

// SetSnapshot swaps the roles that rights are looked up in; nil forgets them.
func (e *Enricher) SetSnapshot(s *Snapshot) { e.snapshot.Store(s) }

// checkAnnotation refuses what cannot be the key of an annotation.
func checkAnnotation(key string) error {
	prefix, name, ok := strings.Cut(key, "/")
	if !ok {
		prefix, name = "", key
	}
	if name == "" || len(name) > 63 || ok && !isName253(prefix) || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	}) {
		return fmt.Errorf("expected the key of an annotation such as example.com/change-ticket, got %q", key)
	}
	return nil
}

// Enrich fills in a. It takes at most the budget, and whatever goes wrong inside of an enricher is a note in a. The event
// behind v must stay as it is even after Enrich has returned, since an enricher that ran out of time may still read it.
func (e *Enricher) Enrich(v *audit.View, a *alert.Alert) {
	in, work := inputOf(v), detached(a)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range e.steps {
			e.try(&e.steps[i], in, &work)
		}
	}()
	budget := time.NewTimer(e.options.Budget)
	defer budget.Stop()
	select {
	case <-done:
		*a = work
	case <-budget.C:
		e.options.Failed("budget")
		a.Notes = append(a.Notes, alert.Note{Code: "enrichment_timeout", Text: fmt.Sprintf("enrichment took longer than %s: this alert holds only what the event says of itself", e.options.Budget)})
		a.Score, a.Severity = alert.Assess(a.Reasons, e.options.Thresholds)
		redact(a)
	}
}

// detached copies what enrichers write to, so that one that goes on beyond the budget writes to memory of its own.
func detached(a *alert.Alert) alert.Alert {
	c := *a
	if a.Workload != nil {
		w := *a.Workload
		w.Labels = slices.Clone(w.Labels)
		c.Workload = &w
	}
	c.Reasons, c.Notes, c.Rules = slices.Clone(a.Reasons), slices.Clone(a.Notes), slices.Clone(a.Rules)
	return c
}

// try runs one enricher; a failure leaves a note.
func (e *Enricher) try(s *step, in *Input, a *alert.Alert) {
	defer func() {
		if cause := recover(); cause != nil {
			e.failed(s, a, fmt.Errorf("it panicked: %v", cause))
		}
	}()
	if err := s.run(in, a); err != nil {
		e.failed(s, a, err)
	}
}

func (e *Enricher) failed(s *step, a *alert.Alert, err error) {
	e.options.Failed(s.name)
	a.Notes = append(a.Notes, alert.Note{Code: "enricher_failed", Text: fmt.Sprintf("the enricher %q could not do its work: %v", s.name, err)})
}

// redact takes credentials out of what the alert repeats from the event. Enrichers that run later repeat the clean text.
func (e *Enricher) redact(_ *Input, a *alert.Alert) error {
	redact(a)
	return nil
}

func redact(a *alert.Alert) {
	if w := a.Workload; w != nil {
		for i := range w.Containers {
			c := &w.Containers[i]
			c.Command, c.Args, c.Image.Raw = Arguments(c.Command), Arguments(c.Args), imageText(c.Image.Raw)
		}
		for i := range w.Labels {
			l := &w.Labels[i]
			l.Value = labelText(l.Key, l.Value)
		}
	}
	a.Request.URI = URI(a.Request.URI)
	a.Request.Message = Message(a.Request.Message)
	a.Actor.UserAgent = Text(a.Actor.UserAgent)
}

// labelText redacts the value of a label or annotation, which may be secret by its key.
func labelText(key, value string) string {
	if value != "" && value != "true" && value != "false" && isSecretKey(key) {
		return Redacted
	}
	return Text(value)
}

// event adds the audit event itself.
func (e *Enricher) event(in *Input, a *alert.Alert) error {
	switch e.options.Event {
	case EventFull:
		a.Event = []byte(in.View.Event)
	case EventRedacted:
		a.Event = Event(make([]byte, 0, len(in.View.Event)), in.View.Event)
	case EventNone:
	}
	return nil
}
