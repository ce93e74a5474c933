package audit

import "strings"

// Note is something that a reader must know about how a [View] came about.
type Note struct {
	// Code is one of the fixed words below.
	Code string
	// Text says it in a sentence.
	Text string
}

// The codes of notes.
const (
	// NoteStageAbsent: the event names no stage.
	NoteStageAbsent = "stage_absent"
	// NoteGroupAbsent: the event leaves out the API group of a resource that isn't in the core group.
	NoteGroupAbsent = "group_absent"
	// NoteTruncated: objects were left out because the event was too large.
	NoteTruncated = "truncated"
	// NoteNameUnknown: the server made up the name, and the event doesn't show it.
	NoteNameUnknown = "name_unknown"
	// NoteOutcomeUnknown: the answer was a timeout.
	NoteOutcomeUnknown = "outcome_unknown"
	// NoteNoObject: the event shows no object.
	NoteNoObject = "no_object"
	// NoteAsRequested: the pod template is the client's, before admission could change it.
	NoteAsRequested = "as_requested"
	// NotePatchOnly: only a patch is visible, not the object that came out of it.
	NotePatchOnly = "patch_only"
	// NoteTooManyParameters: the query is longer than servers read.
	NoteTooManyParameters = "too_many_parameters"
)

func (v *View) note(code, text string) { v.Notes = append(v.Notes, Note{code, text}) }

// takeNotes writes down what the event didn't tell.
func (v *View) takeNotes() {
	if v.StageAbsent {
		v.note(NoteStageAbsent, "The event names no stage; it is taken as complete.")
	}
	if v.Truncated {
		v.noteTruncated()
	}
	if v.Outcome == Observed {
		return
	}
	if v.Outcome == Unknown {
		v.note(NoteOutcomeUnknown, "The answer was a timeout: the object may exist although the client was told otherwise.")
	}
	if v.kind.group != "" && v.Object.Group == "" {
		v.note(NoteGroupAbsent, "The event leaves out the API group; the only one that serves this resource is assumed.")
	}
	if strings.Count(v.RequestURI, "&") >= maxParameters {
		v.note(NoteTooManyParameters, "The query has more parameters than servers read; a dryRun among them counts for nothing.")
	}
	w := &v.Workload
	if w.NameUnknown {
		v.note(NoteNameUnknown, "The server made up the name (generateName), and the event does not show the answer.")
	}
	switch {
	case w.Detail == DetailFull && w.TemplateFrom == FromPatch:
		v.note(NotePatchOnly, "Only the patch is visible, not the object that came out of it.")
	case w.Detail == DetailFull && w.TemplateFrom == FromRequest && v.Outcome == Created:
		v.note(NoteAsRequested, "The pod template is the one the client sent; what admission made of it is not in the event.")
	case w.Detail == DetailNone && !v.Truncated:
		v.note(NoteNoObject, "The event shows no object (audit level "+v.level()+"): what it runs is unknown.")
	}
}

func (v *View) noteTruncated() {
	v.note(NoteTruncated, "Objects were left out of this event because it was too large: what it runs cannot be read from the log.")
}

func (v *View) level() string {
	switch v.Level {
	case "Metadata", "Request", "RequestResponse":
		return v.Level
	}
	return "unknown"
}
