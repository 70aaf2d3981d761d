package hasty

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestHasty(t *testing.T) {
	before := time.Now()
	<-Do()
	if time.Since(before) > 10*time.Millisecond {
		t.Error("it took long")
	}
}

func TestPatient(t *testing.T) { <-Do() }

func TestVirtual(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := time.Now()
		<-Do()
		if time.Since(before) > 0 {
			t.Error("time went by")
		}
	})
}

func BenchmarkDo(b *testing.B) {
	for b.Loop() {
		<-Do()
	}
}
