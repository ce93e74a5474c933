//go:build !race

package processor

// raced: see race_on_test.go.
const raced = false
