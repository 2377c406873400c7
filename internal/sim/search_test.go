//go:build mutation

package sim

import (
	"fmt"
	"testing"
	"time"

	"github.com/chord-plugin/chord-plugin/chord/register"
)

func TestSearch(t *testing.T) {
	for _, rule := range register.Rules {
		register.Break(rule)
		for _, hot := range []bool{false, true} {
			var found []uint64
			var first string
			began := time.Now()
			for n := uint64(1); n <= 3000 && len(found) < 5 && time.Since(began) < 7*time.Second; n++ {
				var err error
				func() {
					defer func() {
						if p := recover(); p != nil {
							err = fmt.Errorf("panic: %v", p)
						}
					}()
					_, err = Run(Options{Seed: n, Duration: 4 * time.Second, Hot: hot})
				}()
				if err != nil {
					if first == "" {
						first = err.Error()
					}
					found = append(found, n)
				}
			}
			fmt.Println(rule, "hot", hot, found, time.Since(began), fmt.Sprintf("%.90q", first))
		}
	}
	register.Break("")
}
