//go:build race

package rules

// raceDetector tells that the pool drops entries at random, so that allocations mean nothing.
const raceDetector = true
