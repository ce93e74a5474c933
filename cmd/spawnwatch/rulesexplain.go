package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/spawnwatch/spawnwatch/processor/audit"
	"github.com/spawnwatch/spawnwatch/processor/envelope"
	"github.com/spawnwatch/spawnwatch/rules"
)

// green marks what holds; the other colours are in terminal.go.
const green = "32"

// maxEventFile bounds what explain reads to find one event, in bytes after decompression: 1 GiB to come to a line, of
// which the line itself may be 64 MiB.
const (
	maxEventFile = 1 << 30
	maxEventLine = 64 << 20
)

// explainOptions are the flags of `rules explain`.
type explainOptions struct {
	rules ruleOptions
	rule  string
	event string
}

func newRulesExplain(std streams) *cobra.Command {
	o := explainOptions{rules: ruleOptions{builtin: true, context: true}}
	cmd := &cobra.Command{
		Use:   "explain -r RULE -e EVENT [flags] [PATH...]",
		Short: "Show why a rule matches an event, or why not",
		Long: `explain evaluates one rule on one event and shows every part of its condition, true or false,
with the values that the event has there. It is the engine's own evaluation.

RULE is the id, name, title or file name (without .yml) of a rule that ships with the program,
context rules too, or is in a PATH; or a rule file, of which every rule is explained. EVENT is a file that holds one
event, FILE:LINE (also of a gzip file), or - for standard input. What log shippers and clouds
wrap around events is taken off; of a list every event is explained.

Exit code 0 if the rule matches, 1 if not, or if there is no such event; 3 if there is no such
rule or it is wrong.`,
		Example: `  spawnwatch rules explain -r workload_privileged -e audit.log:4711
  kubectl get --raw ... | spawnwatch rules explain -r rules.d/exec.yml -e -`,
		RunE: func(_ *cobra.Command, args []string) error {
			o.rules.paths = args
			return explain(std, o)
		},
	}
	packFlags(cmd, &o.rules)
	cmd.Flags().StringVarP(&o.rule, "rule", "r", "", "id, name or title of a rule, or a rule file (required)")
	cmd.Flags().StringVarP(&o.event, "event", "e", "", "FILE, FILE:LINE or - (required)")
	_ = cmd.MarkFlagRequired("rule")
	_ = cmd.MarkFlagRequired("event")
	return cmd
}

func explain(std streams, o explainOptions) error {
	file := ""
	if ext := filepath.Ext(o.rule); ext == ".yml" || ext == ".yaml" {
		if info, err := os.Stat(o.rule); err == nil && info.Mode().IsRegular() {
			file = filepath.ToSlash(filepath.Clean(o.rule))
			o.rules.paths, o.rules.builtin, o.rules.context = append(o.rules.paths, o.rule), false, false
		}
	}
	model, err := audit.NewModel(audit.Options{})
	if err != nil {
		return err
	}
	set, err := loadRules(model, o.rules)
	if err != nil {
		return &exitError{code: exitConfig, err: err}
	}
	chosen, err := chooseRules(set, o.rule, file)
	if err != nil {
		return &exitError{code: exitConfig, err: err}
	}
	record, err := readRecord(std.in, o.event)
	if err != nil {
		return &exitError{code: exitBad, err: fmt.Errorf("-e %s: %w", o.event, err)}
	}
	events, err := unwrap(record)
	if err != nil {
		return &exitError{code: exitBad, err: fmt.Errorf("-e %s: %w", o.event, err)}
	}
	st := styleOf(std.out)
	matched := false
	for i, event := range events {
		for _, r := range chosen {
			node, err := set.Explain(r.Key(), event)
			if err != nil {
				return &exitError{code: exitBad, err: fmt.Errorf("-e %s: %w", o.event, err)}
			}
			matched = matched || node.Holds
			if len(events) > 1 {
				fmt.Fprintf(std.out, "event %d of %d\n", i+1, len(events))
			}
			writeExplanation(std.out, st, r, &node)
		}
	}
	if !matched {
		return &exitError{code: exitBad}
	}
	return nil
}

// chooseRules finds the rules that -r means: all of a file, or the one of that id, name or title.
func chooseRules(set *rules.Set, key, file string) ([]*rules.Rule, error) {
	same := func(r *rules.Rule) bool {
		if file != "" {
			return r.File == file
		}
		return strings.EqualFold(r.ID, key) || r.Name == key || strings.EqualFold(r.Title, key) ||
			strings.TrimSuffix(path.Base(r.File), path.Ext(r.File)) == key
	}
	var chosen []*rules.Rule
	for _, r := range set.Rules() {
		if same(r) {
			chosen = append(chosen, r)
		}
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	if slices.ContainsFunc(set.LeftOut(), same) {
		return nil, fmt.Errorf("-r %s: the rule is left out: its logsource is not product kubernetes, service audit", key)
	}
	return nil, fmt.Errorf("-r %s: expected the id, name or title of a rule, or a rule file: `spawnwatch rules list --context` shows those that ship", key)
}

func writeExplanation(w io.Writer, st style, r *rules.Rule, n *rules.Node) {
	verdict := st.paint(red, "does not match")
	if n.Holds {
		verdict = st.paint(green, "matches")
	}
	fmt.Fprintf(w, "%s %s %s\n", st.paint(bold, printable(r.Title)), verdict, st.paint(dim, printable(fmt.Sprintf("(%s:%d)", r.File, r.Line))))
	writeTree(w, st, n, "  ")
}

// writeTree draws an evaluation: a line for each part, what it is made of below it. Texts of rules and events are made
// safe for terminals.
func writeTree(w io.Writer, st style, n *rules.Node, indent string) {
	mark := st.paint(red, "✗")
	if n.Holds {
		mark = st.paint(green, "✓")
	}
	var text string
	switch n.Kind {
	case rules.NodeField:
		text = printable(n.Text)
		if n.Label != "" {
			text = printable(n.Label) + ": " + text
		}
		seen := "absent"
		if !n.Absent {
			parts := make([]string, len(n.Seen))
			for i, s := range n.Seen {
				parts[i] = printable(s)
			}
			seen = strings.Join(parts, ", ")
		}
		text += "   " + st.paint(dim, "← "+seen)
	case rules.NodeKeywords:
		text = printable(n.Text)
	case rules.NodeAll, rules.NodeAny, rules.NodeNot, rules.NodeNothing:
		text = nodeWord(n.Kind)
		if n.Label != "" {
			text = printable(n.Label) + " " + st.paint(dim, "("+text+")")
		}
	}
	fmt.Fprintf(w, "%s%s %s\n", indent, mark, text)
	for i := range n.Kids {
		writeTree(w, st, &n.Kids[i], indent+"  ")
	}
}

func nodeWord(k rules.NodeKind) string {
	switch k {
	case rules.NodeAll:
		return "all of"
	case rules.NodeAny:
		return "any of"
	case rules.NodeNot:
		return "not"
	default:
		return "a pattern that fits no selection"
	}
}

// readRecord finds the record that -e means.
func readRecord(stdin io.Reader, where string) ([]byte, error) {
	name, line := where, 0
	if before, after, ok := cutLast(where, ":"); ok {
		if n, err := strconv.Atoi(after); err == nil {
			if n < 1 {
				return nil, fmt.Errorf("expected lines counted from 1, got %d", n)
			}
			// A file may have such a name itself.
			if _, err := os.Stat(where); err != nil {
				name, line = before, n
			}
		}
	}
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // only read
		in = f
	}
	r := bufio.NewReaderSize(in, 64<<10)
	if magic, err := r.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		r = bufio.NewReaderSize(z, 64<<10)
	}
	if line > 0 {
		return readLine(r, line)
	}
	return readWhole(r)
}

func cutLast(s, sep string) (before, after string, ok bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// readLine reads one line; the others are not kept.
func readLine(r *bufio.Reader, line int) ([]byte, error) {
	limited := bufio.NewReaderSize(io.LimitReader(r, maxEventFile), 64<<10)
	for n := 1; ; n++ {
		var kept []byte
		begun := false
		for {
			part, err := limited.ReadSlice('\n')
			begun = begun || len(part) > 0
			if n == line {
				if kept = append(kept, part...); len(kept) > maxEventLine {
					return nil, fmt.Errorf("expected a line of at most %d MiB, got more", maxEventLine>>20)
				}
			}
			if err == nil {
				break
			}
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if n == line && len(kept) > 0 && errors.Is(err, io.EOF) {
				return kept, nil
			}
			if errors.Is(err, io.EOF) {
				if !begun {
					n-- // there is no last line without a line feed
				}
				return nil, fmt.Errorf("expected %d lines or more, got %d", line, n)
			}
			return nil, err
		}
		if n == line {
			return kept, nil
		}
	}
}

// readWhole takes the input as one record: a line, or one event over several lines.
func readWhole(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxEventLine+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxEventLine:
		return nil, fmt.Errorf("expected one event of at most %d MiB, got more: name a line, as in FILE:17", maxEventLine>>20)
	}
	data = bytes.TrimSpace(data)
	if first, rest, ok := bytes.Cut(data, []byte("\n")); ok && envelope.Check(bytes.TrimSpace(first)) == nil && len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("expected one event, got %d lines: name one, as in FILE:17", 1+bytes.Count(data, []byte("\n")))
	}
	return data, nil
}

// unwrapped takes the events out of a record.
type unwrapped struct {
	events [][]byte
	faults []error
}

func (u *unwrapped) Event(i envelope.Item)  { u.events = append(u.events, bytes.Clone(i.Event)) }
func (u *unwrapped) Fault(f envelope.Fault) { u.faults = append(u.faults, &f) }
func (u *unwrapped) Ignored(kind string)    { u.faults = append(u.faults, errors.New(kind)) }
func unwrap(record []byte) ([][]byte, error) {
	var u unwrapped
	var r envelope.Reader
	r.Read(record, &u)
	for _, e := range u.events {
		if f := envelope.Check(e); f != nil {
			return nil, f
		}
	}
	if len(u.events) == 0 {
		return nil, errors.Join(append(u.faults, errors.New("there is no audit event"))...)
	}
	return u.events, nil
}
