//go:build race

package audit

// thin makes the tests over whole logs read each eighth event only: the race detector slows them ten times, and what
// they look for doesn't depend on it. It also makes sync.Pool forget at random, so allocations can't be counted.
const thin = 8
