package kafka

import (
	"encoding/binary"
	"hash/crc32"
)

// checksums verifies the batches of a fetch while they arrive, when their bytes are still in the processor's cache:
// behind a whole fetch they would have to come out of memory once more.
type checksums struct {
	// verified is how many bytes from the start are whole batches with the right checksum. What lies behind them is
	// left to [parseBatch].
	verified int

	end   int // of the batch that is arriving, 0 until its header is there
	seen  int // what its checksum covers so far
	sum   uint32
	ended bool // a batch was wrong, or none
}

// advance goes on in data, which begins where the fetch does and holds more with every call.
func (c *checksums) advance(data []byte) {
	for !c.ended {
		if c.end == 0 {
			if len(data)-c.verified < batchHeader {
				return
			}
			size := frameSize(data[c.verified:])
			if size < batchHeader {
				c.ended = true
				return
			}
			c.end, c.seen, c.sum = c.verified+size, c.verified+batchCRCFrom, 0
		}
		to := min(len(data), c.end)
		c.sum = crc32.Update(c.sum, castagnoli, data[c.seen:to])
		if c.seen = to; to < c.end {
			return
		}
		if c.sum != binary.BigEndian.Uint32(data[c.verified+batchCRCAt:]) {
			c.ended = true
			return
		}
		c.verified, c.end = c.end, 0
	}
}
