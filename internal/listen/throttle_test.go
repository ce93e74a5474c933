package listen

import (
	"testing"
	"time"
)

func TestThrottle(t *testing.T) {
	var th Throttle
	at := func(second int64) (ok bool, dropped int) { return th.Allow(time.Unix(1e9+second, 0)) }
	for i := range throttleLines {
		if ok, dropped := at(0); !ok || dropped != 0 {
			t.Errorf("line %d: %v, %d", i, ok, dropped)
		}
	}
	for range 7 {
		if ok, _ := at(9); ok {
			t.Error("one line too many")
		}
	}
	if ok, dropped := at(10); !ok || dropped != 7 {
		t.Errorf("got %v, %d, want a line that tells of 7", ok, dropped)
	}
	if ok, dropped := at(10); !ok || dropped != 0 {
		t.Errorf("got %v, %d", ok, dropped)
	}
}
