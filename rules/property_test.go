package rules

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

var propertyFields = []string{
	"verb", "stage", "requestURI", "userAgent", "user.username", "user.groups", "objectRef.resource", "objectRef.name",
	"objectRef.apiGroup", "objectRef.subresource", "objectRef.namespace", "responseStatus.code", "responseStatus", "sourceIPs",
	"impersonatedUser.username", "annotations.authorization.k8s.io/decision", "requestObject.spec.containers.image",
	"requestObject.metadata.labels.app", "requestReceivedTimestamp", "user.extra.authentication.kubernetes.io/credential-id",
	"nosuch", "computed.both", "computed.all", "alias",
}

var propertyValues = []string{
	"create", "delete", "get", "patch", "update", "ResponseComplete", "RequestReceived", "pods", "secrets", "deployments",
	"system:anonymous", "system:serviceaccount:kube-system:job-controller", "alice", "kube-system", "team-a", "apps", "allow",
	"system:masters", "exec", "nginx:1.27", "/api/v1/namespaces/team-a/pods?limit=500&dryRun=All", "kubectl/v1.36.2", "Straße",
	"ΣΊΣΥΦΟΣ", "σίσυφος", "日本語", "C:\\Windows\\*", "100%", "a*c", "201", "200.0", "true",
}

// propertyComputed derives two fields; what they imply is true, so that gates are in play.
func propertyComputed() []Computed {
	return []Computed{{
		Names: []string{"computed.both", "computed.all"},
		Needs: []string{"verb", "objectRef.resource"},
		Eval: func(raw []string, out *Values) {
			if len(raw[0]) > 1 && len(raw[1]) > 1 && raw[0][0] == '"' && raw[1][0] == '"' {
				out.Add(0, raw[0][1:len(raw[0])-1])
				out.Add(1, raw[0][1:len(raw[0])-1])
				out.Add(1, raw[1][1:len(raw[1])-1])
			}
		},
		Implies: func(name, value string) []Pin {
			for _, c := range value {
				if c < ' ' || c > '~' || c == '\\' || c == '"' {
					return nil // such a value may be spelled with escapes, which Eval does not undo
				}
			}
			if name == "computed.both" {
				return []Pin{{Path: "verb", Values: []string{value}}}
			}
			return nil
		},
	}}
}

var propertyOptions = Options{Aliases: map[string][]string{"alias": {"objectRef.name", "requestObject.metadata.labels.app", "computed.both"}}}

// refResolver resolves fields as propertyComputed and propertyOptions say.
func refResolver(event []byte, tree any) func(string) refField {
	computed := &Values{}
	raw := func(path string) string { return refRaw(event, path) }
	propertyComputed()[0].Eval([]string{raw("verb"), raw("objectRef.resource")}, computed)
	var resolve func(string) refField
	resolve = func(path string) refField {
		var f refField
		switch path {
		case "computed.both", "computed.all":
			for _, v := range computed.list {
				if (v.name == 0) == (path == "computed.both") {
					f.present = true
					f.values = append(f.values, v.text)
				}
			}
		case "alias":
			for _, target := range propertyOptions.Aliases["alias"] {
				g := resolve(target)
				f.present = f.present || g.present
				f.array = f.array || g.array
				f.values = append(f.values, g.values...)
			}
		default:
			f, _ = refResolve(tree, path, true)
		}
		return f
	}
	return resolve
}

// refRaw finds the raw JSON of a path of one or two segments, without arrays.
func refRaw(event []byte, path string) string {
	key, rest, _ := strings.Cut(path, ".")
	m := openMembers(strings.TrimSpace(string(event)))
	for {
		k, ok := m.key()
		if !ok {
			return ""
		}
		v, ok := m.value()
		if !ok {
			return ""
		}
		name := string(appendUnescaped(nil, k))
		if name == path {
			return v
		}
		if name != key {
			continue
		}
		if rest == "" {
			return v
		}
		if v == "" || v[0] != '{' {
			return ""
		}
		return refRaw([]byte(v), rest)
	}
}

func TestMatchAgreesWithReference(t *testing.T) {
	events := corpus(t, "rr.jsonl.gz")
	const rulesPerSet, eventsPerSet = 24, 60
	rounds := 12
	if raceDetector {
		rounds = 3
	}
	if n, err := strconv.Atoi(os.Getenv("RULES_ROUNDS")); err == nil {
		rounds = n // for a long run by hand
	}
	hitsSeen, pairs := 0, 0
	for round := range rounds {
		g := &generator{rand.New(rand.NewPCG(uint64(round), 7)), propertyFields, propertyValues}
		var list []refRule
		var text strings.Builder
		for i := range rulesPerSet {
			r := g.rule()
			list = append(list, r)
			text.WriteString(r.yaml(i))
		}
		set := mustCompile(t, text.String(), propertyComputed(), propertyOptions)
		// Each rule on its own too: alone it can reject an event early, among many seldom.
		singles := make([]*Set, len(list))
		for i := range list {
			singles[i] = mustCompile(t, list[i].yaml(i), propertyComputed(), propertyOptions)
		}
		for i := range eventsPerSet {
			var e []byte
			if i%3 == 0 {
				if e = events[g.IntN(len(events))]; len(e) > 8000 {
					continue
				}
			} else {
				e = g.event()
			}
			tree, everything := refDecode(e, false), refDecode(e, true)
			if tree == nil {
				t.Fatalf("the generator made an event that does not decode: %s", e)
			}
			hits, _, err := set.Match(e, nil)
			if err != nil {
				t.Fatalf("%v: %s", err, e)
			}
			matched := map[string]bool{}
			for _, h := range hits {
				matched[h.Rule.Title] = true
			}
			hitsSeen += len(hits)
			resolve := refResolver(e, tree)
			for k := range list {
				pairs++
				want := list[k].eval(&list[k].condition, resolve, everything)
				alone, _, err := singles[k].Match(e, nil)
				if err != nil {
					t.Fatalf("%v: %s", err, e)
				}
				if (len(alone) == 1) != want {
					t.Fatalf("round %d, alone: expected %v, got %v\n%s\n%s", round, want, !want, list[k].yaml(k), e)
				}
				why, err := set.Explain(fmt.Sprintf("Random %d", k), e)
				if err != nil || why.Holds != want {
					t.Fatalf("round %d: expected Explain to say %v, got %v (%v)\n%s%s\n%s", round, want, why.Holds, err, why.String(), list[k].yaml(k), e)
				}
				if bad := contradiction(&why); bad != nil {
					t.Fatalf("round %d: a part of the explanation contradicts its own: %s\n%s", round, bad.String(), e)
				}
				if got := matched[fmt.Sprintf("Random %d", k)]; got != want {
					t.Fatalf("round %d: expected %v, got %v\n%s\n%s", round, want, got, list[k].yaml(k), e)
				}
			}
		}
	}
	if hitsSeen < pairs/20 || hitsSeen > pairs*19/20 {
		t.Errorf("expected a fair mix of verdicts, got %d hits in %d pairs", hitsSeen, pairs)
	}
	t.Logf("%d pairs, %d hits", pairs, hitsSeen)
}

// contradiction finds a node whose verdict does not follow from its kids'.
func contradiction(n *Node) *Node {
	if len(n.Kids) > 0 {
		count := 0
		for i := range n.Kids {
			if bad := contradiction(&n.Kids[i]); bad != nil {
				return bad
			}
			if n.Kids[i].Holds {
				count++
			}
		}
		want := count == len(n.Kids)
		switch n.Kind {
		case NodeAny:
			want = count > 0
		case NodeNot:
			want = count == 0
		default:
		}
		if n.Holds != want {
			return n
		}
	}
	return nil
}
