package telemetry

import "sync"

// counts are counters that come into being with their first occurrence.
type counts[K comparable] struct {
	mu sync.Mutex
	n  map[K]int64
}

func (c *counts[K]) add(key K, n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n == nil {
		c.n = map[K]int64{}
	}
	c.n[key] += n
}

func (c *counts[K]) each(f func(key K, n int64)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, n := range c.n {
		f(key, n)
	}
}
