package file

import (
	"bytes"
	"context"
	"crypto/sha256"

	"github.com/spawnwatch/spawnwatch/sources"
)

// maxRecords bounds a batch of tiny lines.
const maxRecords = 4096

// lane takes block after block: it reads one under the reader's lock and works on it outside.
type lane struct {
	set     *Settings
	r       *reader
	handler sources.Handler
	batch   sources.Batch
	records []sources.Record
	faults  []*Fault
}

// run works until the input ends or reading is stopped. The error is the handler's.
func (l *lane) run(calls context.Context) error {
	buf := make([]byte, 0, blockSize)
	for {
		var b block
		var ok bool
		if buf, b, ok = l.r.next(buf); !ok {
			return nil
		}
		if err := l.work(calls, &b); err != nil {
			return err
		}
		if cap(buf) > keepBuffer && len(b.data) <= blockSize {
			buf = make([]byte, 0, blockSize) // the long line is over
		}
	}
}

// work hands a block over. Whatever happens, the next block learns its line number; it learns that this one was handled
// only if it was, and otherwise its calls end with their context.
func (l *lane) work(calls context.Context, b *block) error {
	lines := splitter{b: b, data: b.data, max: l.set.MaxRecord, origin: b.offset}
	l.records = lines.next(l.records[:0])
	fed := lines.line + int64(bytes.Count(lines.data[lines.pos:], lineFeed))
	if b.oversized != nil {
		fed = 1
	}
	var base int64
	if b.before != nil {
		base = <-b.before
	}
	b.lines <- base + fed
	if b.fault != nil {
		line := base + fed + 1
		if b.oversized != nil {
			line = base + 1
		}
		l.faults = append(l.faults, &Fault{Path: b.path, Line: line, Offset: b.end, Compressed: b.compressed, Err: b.fault, order: b.order})
	}
	for len(l.records) > 0 {
		for i := range l.records {
			l.records[i].Line += base
		}
		l.batch = sources.Batch{
			Origin:  sources.Origin{Source: l.set.Name, Topic: b.path, Partition: -1, Cluster: l.set.Cluster},
			Records: l.records,
			After:   b.after,
		}
		if err := l.handler(calls, &l.batch); err != nil {
			return err
		}
		l.records = lines.next(l.records[:0])
	}
	select {
	case <-b.after:
		close(b.returned)
		return nil
	case <-calls.Done():
		return context.Cause(calls)
	}
}

var (
	lineFeed = []byte{'\n'}
	// byteOrderMark is what some editors put before UTF-8 text.
	byteOrderMark = []byte("\xef\xbb\xbf")
)

// splitter cuts a block into records, without copying.
type splitter struct {
	b      *block
	data   []byte
	pos    int
	line   int64 // lines that ended before pos
	max    int
	origin int64
}

// next appends records until there are maxRecords or the block ends. Blank lines are nothing. Line counts from the
// beginning of the block.
func (s *splitter) next(records []sources.Record) []sources.Record {
	if s.b.oversized != nil {
		if s.pos > 0 {
			return records
		}
		s.pos = len(s.data)
		return append(records, sources.Record{Value: s.data, Offset: s.origin, Line: 1, Oversized: s.b.oversized})
	}
	if s.pos == 0 && s.origin == 0 && bytes.HasPrefix(s.data, byteOrderMark) {
		s.pos = len(byteOrderMark)
	}
	for s.pos < len(s.data) && len(records) < maxRecords {
		line, at, number := s.data[s.pos:], s.pos, s.line+1
		if i := bytes.IndexByte(line, '\n'); i >= 0 {
			line = line[:i]
			s.pos += i + 1
			s.line++
		} else {
			s.pos = len(s.data)
		}
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		if blank(line) {
			continue
		}
		r := sources.Record{Value: line[:len(line):len(line)], Offset: s.origin + int64(at), Line: number}
		if len(line) > s.max {
			r.Oversized = &sources.Oversized{Size: int64(len(line)), SHA256: sha256.Sum256(line)}
			r.Value = line[:min(len(line), sources.OversizedKeep)]
		}
		records = append(records, r)
	}
	return records
}

// blank looks at the first byte before it looks at all.
func blank(line []byte) bool {
	if len(line) == 0 {
		return true
	}
	if c := line[0]; c != ' ' && c != '\t' && c != '\r' {
		return false
	}
	return len(bytes.TrimLeft(line, " \t\r")) == 0
}
