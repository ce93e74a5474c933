package processor

import "sync"

// repeatWindow remembers the ids of the alerts published last, so that an event that comes again (a webhook batch sent
// twice, the stages of one request) alerts once. An id enters only after its alert was published; a repeat that comes
// while the first is still in flight is published too, under the same id, and left to the consumer: nobody ever waits
// for another batch here, so two batches cannot wait for each other.
//
// It holds between size/2 and size ids: two generations, of which the older is dropped whole when the younger is full.
type repeatWindow struct {
	mu    sync.Mutex
	half  int
	young map[string]struct{}
	old   map[string]struct{}
}

// DefaultRepeatWindow is how many alert ids are remembered unless configured otherwise, at about 100 bytes each.
const DefaultRepeatWindow = 1 << 16

func newRepeatWindow(size int) *repeatWindow {
	half := max(size/2, 1)
	return &repeatWindow{half: half, young: make(map[string]struct{})}
}

// seen reports whether id was published within the window.
func (w *repeatWindow) seen(id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, ok := w.young[id]
	if !ok {
		_, ok = w.old[id]
	}
	return ok
}

// add remembers the ids of messages that have just been published.
func (w *repeatWindow) add(msgs []pending) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range msgs {
		if len(w.young) >= w.half {
			w.old, w.young = w.young, make(map[string]struct{}, w.half)
		}
		w.young[msgs[i].ID] = struct{}{}
	}
}
