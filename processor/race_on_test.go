//go:build race

package processor

// raced: the race detector makes pools forget what they hold, so that allocations cannot be counted.
const raced = true
