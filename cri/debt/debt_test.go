package debt

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestDebtsAreTriedUntilTheyArePaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tried []string
		refusals := 3
		b := Book{Pay: func(_ context.Context, id string) error {
			tried = append(tried, id)
			if refusals--; refusals >= 0 {
				return errors.New("the plugin is away")
			}
			return nil
		}}
		b.Owe("a")
		b.Owe("a")
		time.Sleep(time.Hour)
		synctest.Wait()
		if want := []string{"a", "a", "a", "a"}; !slices.Equal(tried, want) {
			t.Errorf("tried %v, want %v", tried, want)
		}
		b.Owe("b") // the list was empty: the work begins anew
		time.Sleep(time.Minute)
		synctest.Wait()
		if last := tried[len(tried)-1]; last != "b" || len(tried) != 5 {
			t.Errorf("tried %v", tried)
		}
	})
}
