package processor

import (
	"slices"

	"github.com/spawnwatch/spawnwatch/processor/envelope"
	"github.com/spawnwatch/spawnwatch/rules"
	"github.com/spawnwatch/spawnwatch/sources"
)

// Skim is for sources that make JSON text of what they read. It rejects what a field of the head excludes from every rule:
// the same field would end the matching of the whole event, which is not read any further then either. Only bare audit
// events are skimmed, and none where every byte is to be validated.
func (p *Processor) Skim() sources.Skim {
	if p.cfg.Validate == ValidateAll {
		return sources.Skim{}
	}
	// What stands before the bodies in the API server's own logs. Rules that are loaded later may decide by other members:
	// then less is rejected here, and nothing wrongly.
	members := []string{"kind", "apiVersion"}
	deciding := p.rules.Load().Deciding()
	for _, key := range []string{"stage", "verb", "user", "objectRef", "responseStatus"} {
		if slices.Contains(deciding, key) {
			members = append(members, key)
		}
	}
	return sources.Skim{
		Members: members, Lead: 2,
		Rejects: func(head []byte) bool {
			if !envelope.IsBare(head) {
				return false
			}
			c, end, err := p.rules.Load().Walk(head)
			c.Release()
			return err == nil && end == rules.Rejected
		},
	}
}

// skimmed counts what a source left out of b as it would have been counted here.
func (p *Processor) skimmed(b *sources.Batch, out *outbox) {
	n := uint64(b.Skimmed.Records)
	if n == 0 {
		return
	}
	s := Stats{Records: n, Bytes: uint64(b.Skimmed.Bytes), Events: n, Rejected: n}
	p.counters.add(&s)
	out.report.Stats.add(&s)
}
