package alert

// Bool is a flag that may be unset or unknown (null). The zero value is null.
type Bool uint8

const (
	// Unset is null.
	Unset Bool = iota
	// False is false.
	False
	// True is true.
	True
)

// Flag makes a Bool of b.
func Flag(b bool) Bool {
	if b {
		return True
	}
	return False
}

// Int is a number that may be unset or unknown (null). The zero value is null.
type Int struct {
	N     int64
	Known bool
}

// Number makes an Int of n.
func Number(n int64) Int { return Int{N: n, Known: true} }

// Label is a key with its value. A list of labels is an object in JSON; its keys are unique, which is the duty of who
// fills it.
type Label struct {
	Key, Value string
}
