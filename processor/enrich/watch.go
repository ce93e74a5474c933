package enrich

import (
	"strings"

	"github.com/spawnwatch/spawnwatch/processor/alert"
)

// watchRule is a rule as of the Sigma specification 2.1. JSON is YAML, so it can be written on one line.
type watchRule struct {
	Title       string            `json:"title"`
	ID          string            `json:"id"`
	Status      string            `json:"status"`
	Level       string            `json:"level"`
	Description string            `json:"description"`
	LogSource   map[string]string `json:"logsource"`
	Detection   watchDetection    `json:"detection"`
}

// watchDetection holds the selections: fields with the values they may have.
type watchDetection struct {
	Made      map[string][]string `json:"made"`
	Actor     map[string][]string `json:"actor,omitempty"`
	Image     map[string][]string `json:"image,omitempty"`
	Condition string              `json:"condition"`
}

// watchedActor is the field and the value by which to watch the actor: who impersonates somebody is watched, not whom they
// act as; a controller, which works for everybody, is not.
func watchedActor(a *alert.Alert) (field, user string) {
	switch {
	case a.Actor.ImpersonatedBy != "":
		return "actor.impersonated_by", a.Actor.ImpersonatedBy
	case a.Workload != nil && a.Workload.Controlled:
		return "", ""
	default:
		return "actor.user", a.Actor.User
	}
}

// watched says in words what the rule is about.
func watched(a *alert.Alert) string {
	var all []string
	if _, user := watchedActor(a); user != "" {
		all = append(all, user)
	}
	if images := imagesOf(a); len(images) > 0 {
		all = append(all, "the image "+strings.Join(images, ", "))
	}
	return strings.Join(all, " and ")
}

// watchCommand writes a rule that fires on whatever this actor makes, and on these images whoever runs them; of a request
// that made no workload, on its like by the same actor.
func watchCommand(a *alert.Alert) string {
	field, user := watchedActor(a)
	images := imagesOf(a)
	if user == "" && len(images) == 0 {
		return ""
	}
	rule := watchRule{
		Title: "Watched after alert " + a.ID, ID: uuidOf(a.ID), Status: "experimental", Level: "high",
		Description: "Made from an alert: " + a.Title,
		LogSource:   map[string]string{"product": "kubernetes", "service": "audit"},
	}
	d := &rule.Detection
	if a.Workload != nil {
		d.Made = map[string][]string{"outcome": {"created", "unknown", "changed", "refused"}}
	} else {
		o := &a.Request.Object
		d.Made = map[string][]string{"verb": {sigmaValue(a.Request.Verb)}}
		if o.Resource != "" {
			d.Made["objectRef.resource"] = []string{sigmaValue(o.Resource)}
		}
		if o.Subresource != "" {
			d.Made["objectRef.subresource"] = []string{sigmaValue(o.Subresource)}
		}
	}
	if user != "" {
		d.Actor = map[string][]string{field: {sigmaValue(user)}}
	}
	for _, image := range images {
		if d.Image == nil {
			d.Image = map[string][]string{}
		}
		d.Image["workload.image"] = append(d.Image["workload.image"], sigmaValue(image))
	}
	switch {
	case len(d.Image) == 0:
		d.Condition = "made and actor"
	case len(d.Actor) == 0:
		d.Condition = "made and image"
	default:
		d.Condition = "made and (actor or image)"
	}
	text, err := line(&rule)
	if err != nil {
		return ""
	}
	return redirect(command("printf", "%s\\n", text), " > "+quote("rules.d/watch-"+a.ID+".yml"))
}

// sigmaValue escapes what Sigma would take for a wildcard (Sigma specification 2.1, "Escaping").
func sigmaValue(s string) string { return escape(s, `\*?`) }

// escape puts a backslash before each of the characters, which are ASCII.
func escape(s, characters string) string {
	if !strings.ContainsAny(s, characters) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(characters, s[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// uuidOf forms a version 8 UUID (RFC 9562, 5.8) of the hexadecimal id of an alert.
func uuidOf(id string) string {
	hexes := make([]byte, 0, 32)
	for i := 0; i < len(id) && len(hexes) < 32; i++ {
		if c := id[i]; c >= '0' && c <= '9' || c >= 'a' && c <= 'f' {
			hexes = append(hexes, c)
		}
	}
	for len(hexes) < 32 {
		hexes = append(hexes, '0')
	}
	hexes[12], hexes[16] = '8', 'a'
	h := string(hexes)
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
