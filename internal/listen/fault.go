package listen

import "fmt"

// Fault is something wrong at a key of a configuration.
type Fault struct {
	key string
	err error
}

// NewFault says what is wrong at key.
func NewFault(key, format string, args ...any) *Fault {
	return &Fault{key: key, err: fmt.Errorf(format, args...)}
}

func (f *Fault) Error() string { return f.err.Error() }
func (f *Fault) Unwrap() error { return f.err }

// Key names the key at fault, relative to the configuration that was validated.
func (f *Fault) Key() string { return f.key }
