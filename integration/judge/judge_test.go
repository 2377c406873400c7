package judge

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// op is an operation on one key from call to end, in milliseconds.
func op(client int, kind Kind, value string, call, end int, more ...func(*Operation)) Operation {
	o := Operation{
		Client: client, Kind: kind, Key: "k", Value: value, Outcome: Done,
		Call: time.Duration(call) * time.Millisecond, Return: time.Duration(end) * time.Millisecond,
	}
	for _, f := range more {
		f(&o)
	}
	return o
}

func outcome(x Outcome) func(*Operation) { return func(o *Operation) { o.Outcome = x } }
func expect(v string) func(*Operation)   { return func(o *Operation) { o.Expect = v } }
func token(n uint64) func(*Operation)    { return func(o *Operation) { o.Token = n } }
func index(n uint64) func(*Operation)    { return func(o *Operation) { o.Index = n } }

func TestCheckAccepts(t *testing.T) {
	for name, ops := range map[string][]Operation{
		"one after the other":                        {op(0, Put, "a", 0, 1), op(0, Get, "a", 2, 3), op(0, Delete, "", 4, 5), op(0, Get, "", 6, 7)},
		"a read beside a write":                      {op(0, Put, "a", 0, 10), op(1, Get, "", 1, 2), op(1, Get, "a", 3, 4)},
		"an unknown write that is seen":              {op(0, Put, "a", 0, 1, outcome(Unknown)), op(1, Get, "a", 50, 51)},
		"an unknown write seen late":                 {op(0, Put, "a", 0, 1, outcome(Unknown)), op(1, Get, "", 50, 51), op(1, Get, "a", 60, 61)},
		"an unknown write never seen":                {op(0, Put, "a", 0, 1, outcome(Unknown)), op(1, Get, "", 50, 51)},
		"a write that changed nothing":               {op(0, Put, "a", 0, 1, outcome(Nothing)), op(1, Get, "", 50, 51)},
		"a cas and a refused one":                    {op(0, CAS, "a", 0, 1), op(1, CAS, "b", 2, 3, outcome(Refused)), op(1, CAS, "c", 4, 5, expect("a")), op(1, Get, "c", 6, 7)},
		"an unknown pop":                             {op(0, Put, "a", 0, 1), op(1, Pop, "", 2, 3, outcome(Unknown)), op(0, Get, "", 4, 5)},
		"writes under one lock and the next":         {op(0, Fence, "", 0, 1, token(3)), op(0, Put, "a", 2, 3, token(3)), op(1, Fence, "", 4, 5, token(4)), op(1, Get, "a", 6, 7), op(1, Put, "b", 8, 9, token(4)), op(1, Get, "b", 10, 11)},
		"an old holder that is refused":              {op(1, Fence, "", 0, 5, token(4)), op(0, Put, "a", 2, 9, token(3), outcome(Refused)), op(1, Get, "", 10, 11)},
		"an old holder, refused by a doubtful fence": {op(1, Fence, "", 0, 1, token(4), outcome(Unknown)), op(0, Put, "a", 2, 3, token(3), outcome(Refused)), op(0, Put, "b", 4, 5, token(3)), op(1, Get, "b", 10, 11)},
		"an old holder that writes during the fence": {op(1, Fence, "", 0, 5, token(4)), op(0, Put, "a", 1, 4, token(3)), op(1, Get, "a", 6, 7)},
		"an unknown write before the fence, seen":    {op(0, Put, "a", 0, 1, token(3), outcome(Unknown)), op(1, Fence, "", 2, 5, token(4)), op(1, Get, "a", 6, 7)},
		"an unknown write before the fence, unseen":  {op(0, Put, "a", 0, 1, token(3), outcome(Unknown)), op(1, Fence, "", 2, 5, token(4)), op(1, Get, "", 6, 7)},
		"an unknown write after the fence":           {op(1, Fence, "", 2, 5, token(4)), op(0, Put, "a", 6, 7, token(3), outcome(Unknown)), op(1, Get, "", 8, 9)},
		"a write without a token":                    {op(1, Fence, "", 2, 5, token(4)), op(0, Put, "a", 6, 7), op(1, Get, "a", 8, 9)},
		"indexes that grow":                          {op(0, Put, "a", 0, 1, index(5)), op(1, Put, "b", 2, 3, index(6)), op(1, Get, "b", 4, 5, index(6))},
	} {
		t.Run(name, func(t *testing.T) { require.NoError(t, Check(ops)) })
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		ops  []Operation
		want string
	}{
		"a lost write":                                    {[]Operation{op(0, Put, "a", 0, 1), op(1, Get, "", 2, 3)}, "no order"},
		"an old value after the new":                      {[]Operation{op(0, Put, "a", 0, 1), op(0, Put, "b", 2, 30), op(1, Get, "b", 3, 4), op(2, Get, "a", 5, 6)}, "no order"},
		"a value that nobody wrote":                       {[]Operation{op(0, Get, "x", 0, 1)}, "no order"},
		"a write that changed nothing":                    {[]Operation{op(0, Put, "a", 0, 1, outcome(Nothing)), op(1, Get, "a", 50, 51)}, "no order"},
		"an unknown write, seen too early":                {[]Operation{op(1, Get, "a", 0, 1), op(0, Put, "a", 2, 3, outcome(Unknown))}, "no order"},
		"an unknown write that goes again":                {[]Operation{op(0, Put, "a", 0, 1, outcome(Unknown)), op(1, Get, "a", 2, 3), op(1, Get, "", 4, 5)}, "no order"},
		"two cas that both held":                          {[]Operation{op(0, CAS, "a", 0, 9), op(1, CAS, "b", 0, 9)}, "no order"},
		"a cas refused without reason":                    {[]Operation{op(0, CAS, "a", 0, 1, outcome(Refused))}, "no order"},
		"a value popped twice":                            {[]Operation{op(0, Put, "a", 0, 1), op(1, Pop, "a", 2, 9), op(2, Pop, "a", 2, 9)}, "no order"},
		"an old holder that writes after the fence":       {[]Operation{op(1, Fence, "", 0, 1, token(4)), op(0, Put, "a", 2, 3, token(3))}, "no order"},
		"an unknown write that surfaces after the fence":  {[]Operation{op(0, Put, "a", 0, 1, token(3), outcome(Unknown)), op(1, Fence, "", 2, 5, token(4)), op(1, Get, "", 6, 7), op(1, Get, "a", 8, 9)}, "no order"},
		"an unknown write that was made behind the fence": {[]Operation{op(1, Fence, "", 2, 5, token(4)), op(0, Put, "a", 6, 7, token(3), outcome(Unknown)), op(1, Get, "a", 8, 9)}, "no order"},
		"a refused write that is seen":                    {[]Operation{op(1, Fence, "", 0, 5, token(4)), op(0, Put, "a", 2, 9, token(3), outcome(Refused)), op(1, Get, "a", 10, 11)}, "no order"},
		"a holder that is refused":                        {[]Operation{op(1, Fence, "", 0, 1, token(4)), op(1, Put, "a", 2, 3, token(4), outcome(Refused))}, "nobody had a newer one"},
		"a holder that is refused too early":              {[]Operation{op(0, Put, "a", 0, 1, token(3), outcome(Refused)), op(1, Fence, "", 2, 3, token(4))}, "nobody had a newer one"},
		"a fence behind a newer one":                      {[]Operation{op(1, Fence, "", 0, 1, token(4)), op(0, Fence, "", 2, 3, token(3))}, "no order"},
		"a value with two indexes":                        {[]Operation{op(0, Put, "a", 0, 1, index(5)), op(1, Get, "a", 2, 3, index(6))}, "index 5 and with 6"},
		"an index that goes back":                         {[]Operation{op(0, Put, "a", 0, 1, index(6)), op(1, Put, "b", 2, 3, index(5))}, "went back"},
		"an index that is used twice":                     {[]Operation{op(0, Put, "a", 0, 1, index(6)), op(1, Put, "b", 2, 3, index(6))}, "went back"},
	} {
		t.Run(name, func(t *testing.T) { require.ErrorContains(t, Check(tc.ops), tc.want) })
	}
}
