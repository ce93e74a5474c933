package forward

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/tidwall/gjson"
)

// Shape is how a line of the log becomes a record.
type Shape string

const (
	// Parsed records are maps: in_tail with a JSON parser.
	Parsed Shape = "parsed"
	// Log records are {"log": line}: in_tail without a parser.
	Log Shape = "log"
)

// Mode is how records become a message.
type Mode string

const (
	// Forward lists the entries in an array: Fluent Bit's default.
	Forward Mode = "forward"
	// Gzip packs them into a compressed bin: Fluent Bit with compress gzip.
	Gzip Mode = "gzip"
)

// ChunkBytes is when a chunk is full. Fluent Bit's usual ones have 2.1 MB.
const ChunkBytes = 2 << 20

// Tag is the tag of all messages.
const Tag = "kube.audit"

// Chunk is the entries of one message.
type Chunk struct {
	// Records is how many there are, Text how many bytes of JSON they were made of.
	Records, Text int
	entries       []byte
	// auditIDs are the positions of the audit ids in entries.
	auditIDs []int
}

// Lines are the lines of a log, gzipped or not.
func Lines(path string) ([][]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(data, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if data, err = io.ReadAll(z); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return bytes.Split(bytes.TrimSpace(data), []byte("\n")), nil
}

// Chunks packs lines.
func Chunks(lines [][]byte, shape Shape) (chunks []Chunk) {
	now := time.Now()
	for _, line := range lines {
		if len(chunks) == 0 || len(chunks[len(chunks)-1].entries) >= ChunkBytes {
			chunks = append(chunks, Chunk{entries: make([]byte, 0, ChunkBytes+ChunkBytes/4)})
		}
		c := &chunks[len(chunks)-1]
		// [[EventTime, {}], record]: the form since Fluent Bit 5.0.5.
		c.entries = append(c.entries, 0x92, 0x92, 0xd7, 0x00)
		c.entries = binary.BigEndian.AppendUint32(c.entries, uint32(now.Unix()))
		c.entries = binary.BigEndian.AppendUint32(c.entries, uint32(now.Nanosecond()))
		c.entries = appendWideMap(c.entries, 0)
		begin := len(c.entries)
		var mark string
		if shape == Log {
			c.entries = appendWideMap(c.entries, 1)
			c.entries = appendText(c.entries, "log")
			c.entries = appendText(c.entries, string(line))
			mark = `"auditID":"`
		} else {
			v := gjson.ParseBytes(line)
			n := 0
			v.ForEach(func(_, _ gjson.Result) bool { n++; return true })
			c.entries = appendMembers(appendWideMap(c.entries, n), v)
			mark = "\xa7auditID\xd9\x24"
		}
		i := bytes.Index(c.entries[begin:], []byte(mark))
		if i >= 0 && len(gjson.GetBytes(line, "auditID").Raw) == auditIDLength+2 {
			c.auditIDs = append(c.auditIDs, begin+i+len(mark))
		}
		c.Records++
		c.Text += len(line)
	}
	return chunks
}

// RoundID is what a round makes of the audit id of an event. An id of another length than usual stays as it is.
func RoundID(id string, round int) string {
	if round == 0 || len(id) != auditIDLength {
		return id
	}
	return fmt.Sprintf("%08x", round) + id[8:]
}

// auditIDLength is the length of a UUID.
const auditIDLength = 36

// renumber overwrites the first eight digits of every audit id, so that the events are others than those of another
// round.
func (c *Chunk) renumber(entries []byte, n uint32) {
	for _, at := range c.auditIDs {
		copy(entries[at:], fmt.Appendf(nil, "%08x", n))
	}
}

// Message appends the message that carries the chunk as of a round (0: as it stands in the log). id is the chunk's own,
// or empty where no answer is asked for: Fluent Bit then sends no option at all, unless it has to name a compression.
func (c *Chunk) Message(dst []byte, mode Mode, round uint32, id string) ([]byte, error) {
	options := 0
	if id != "" {
		options = 3
	}
	if mode == Gzip {
		options = max(options, 2) + 1
	}
	dst = append(dst, 0x92)
	if options > 0 {
		dst[len(dst)-1] = 0x93
	}
	dst = appendText(dst, Tag)
	if mode == Gzip {
		entries := bytes.Clone(c.entries)
		if round > 0 {
			c.renumber(entries, round)
		}
		var packed bytes.Buffer
		z, err := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
		if err != nil {
			return nil, err
		}
		if _, err := z.Write(entries); err != nil {
			return nil, err
		}
		if err := z.Close(); err != nil {
			return nil, err
		}
		dst = binary.BigEndian.AppendUint32(append(dst, 0xc6), uint32(packed.Len()))
		dst = append(dst, packed.Bytes()...)
	} else {
		dst = appendCount(dst, c.Records, 0x90, 0xdc)
		begin := len(dst)
		dst = append(dst, c.entries...)
		if round > 0 {
			c.renumber(dst[begin:], round)
		}
	}
	if options == 0 {
		return dst, nil
	}
	dst = appendWideMap(dst, options)
	if id != "" {
		dst = appendText(appendText(dst, "chunk"), id)
	}
	dst = appendInteger(appendText(dst, "size"), int64(c.Records))
	if mode == Gzip {
		dst = appendText(appendText(dst, "compressed"), "gzip")
	}
	return appendInteger(appendText(dst, "fluent_signal"), 0), nil
}
