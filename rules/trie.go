package rules

import "strings"

// maxSegments is how many dots a field name may have and still be a path.
const maxSegments = 60

// slotInfo is a field path that the walk fills.
type slotInfo struct {
	path string
	// gate is the index of the slot's gate, or -1.
	gate int32
	// text: only a text may exclude rules here ([Options.Texts]).
	text bool
	// probes exclude rules by more than equality as soon as the slot is settled, searches when its top-level key is read.
	probes   []probe
	searches []search
}

// node is a key on the way to slots. The path of a node is made of whole keys; keys that hold dots themselves, and so
// stand for several segments, are joins.
type node struct {
	// id numbers all nodes and joins; the scratch remembers by it which keys came already.
	id int32
	// slot is filled by the value of this key, or -1.
	slot int32
	// rest is the part of each slot's path that begins behind this node; below holds all slots at or below it.
	below []below
	// gated are the slots at or below with gates or probes, searched those with automata; of top-level keys only.
	gated, searched []int32
	// entries are the children and joins, by the length of their key: entries[n] have keys of n bytes. The last holds
	// all longer ones.
	entries [maxBucket + 1][]entry
	empty   bool
	// escaped tells that a key holds a backslash, so that a raw key must be decoded before it is looked up.
	escaped bool
	// checked: the value of this top-level key goes through [Options.Check].
	checked bool
}

// below is a slot at or below a node.
type below struct {
	slot int32
	// rest is the path from the node to the slot, empty for the node itself.
	rest string
}

const maxBucket = 40

type entry struct {
	name string
	// child is the node of a plain key; nil for a join.
	child *node
	id    int32
	// targets are the slots that a join leads to, each with the path that remains.
	targets []below
}

// find looks a key up.
func (n *node) find(key string) *entry {
	bucket := n.entries[min(len(key), maxBucket)]
	for i := range bucket {
		if bucket[i].name == key {
			return &bucket[i]
		}
	}
	return nil
}

func (n *node) add(e entry) *entry {
	n.empty = false
	n.escaped = n.escaped || strings.IndexByte(e.name, '\\') >= 0
	b := min(len(e.name), maxBucket)
	n.entries[b] = append(n.entries[b], e)
	return &n.entries[b][len(n.entries[b])-1]
}

// trie builds the tree of all slots.
type trie struct {
	root *node
	ids  int32
}

func newTrie() *trie {
	t := &trie{}
	t.root = t.node()
	return t
}

func (t *trie) node() *node {
	n := &node{id: t.ids, slot: -1, empty: true}
	t.ids++
	return n
}

// insert adds a slot's path.
func (t *trie) insert(slot int32, path string) {
	n, rest := t.root, path
	n.below = append(n.below, below{slot, rest})
	for rest != "" {
		if strings.Count(rest, ".") <= maxSegments {
			t.joins(n, slot, rest)
		}
		key, next, more := strings.Cut(rest, ".")
		if !more {
			next = ""
		}
		e := n.find(key)
		if e == nil {
			e = n.add(entry{name: key, child: t.node()})
		} else if e.child == nil {
			e.child = t.node()
		}
		n, rest = e.child, next
		n.below = append(n.below, below{slot, rest})
		if !more {
			break
		}
	}
	n.slot = slot
}

// joins adds the keys that stand for two or more segments of rest.
func (t *trie) joins(n *node, slot int32, rest string) {
	for end := strings.IndexByte(rest, '.'); end >= 0; {
		next := strings.IndexByte(rest[end+1:], '.')
		name, remains := rest, ""
		if next >= 0 {
			name, remains = rest[:end+1+next], rest[end+1+next+1:]
		}
		e := n.find(name)
		if e == nil {
			e = n.add(entry{name: name, id: t.ids})
			t.ids++
		}
		e.targets = append(e.targets, below{slot, remains})
		if next < 0 {
			return
		}
		end += 1 + next
	}
}
