package register

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestResultOfWhatHappened: an operation that another node carried out, whose answer
// was lost, is answered by what there is, if that says enough.
func TestResultOfWhatHappened(t *testing.T) {
	at := Ballot{Time: 7, Node: 2}
	id := TxnID{Start: Ballot{Time: 5, Node: 1}}
	status := func(state State) *Value {
		return &Value{Live: true, Data: AppendStatus(nil, &Status{State: state}), Lineage: []Past{{Write: at, Op: at}}}
	}
	placed := &Value{Live: true, Create: 1, Intent: &Intent{Txn: id, Stamp: 9, New: Content{Live: true}}}
	other := &Value{Live: true, Create: 1, Intent: &Intent{Txn: TxnID{Start: at}, Stamp: 9, New: Content{Live: true}}}
	gone := &Value{}
	for name, c := range map[string]struct {
		change Change
		now    *Value
		want   Result
	}{
		"a commit, and it is committed":       {Change{Kind: Commit}, status(Committed), Result{Outcome: Done, Index: 7, Value: *status(Committed)}},
		"an abort":                            {Change{Kind: Abort}, status(Aborted), Result{Outcome: Done, Index: 7, Value: *status(Aborted)}},
		"a nudge, and it was aborted since":   {Change{Kind: Nudge}, status(Aborted), Result{Outcome: Done, Index: 7, Value: *status(Aborted)}},
		"a commit, and it was forgotten":      {Change{Kind: Commit}, gone, Result{Outcome: Unknown}},
		"a renewal":                           {Change{Kind: Renew}, status(Pending), Result{Outcome: Done, Index: 7, Value: *status(Pending)}},
		"an end, and it was forgotten":        {Change{Kind: End}, gone, Result{Outcome: Unknown}},
		"an intent that stands":               {Change{Kind: Place, Txn: id}, placed, Result{Outcome: Done, Index: 9, Value: Value{Live: true, Create: 1, Hidden: true, Shown: 9}}},
		"an intent, and now there is another": {Change{Kind: Place, Txn: id}, other, Result{Outcome: Unknown}},
		"an intent that was resolved":         {Change{Kind: Place, Txn: id}, &Value{Live: true}, Result{Outcome: Unknown}},
		"a pop":                               {Change{Kind: Pop}, status(Pending), Result{Outcome: Unknown}},
		"a put":                               {Change{Kind: Put}, status(Pending), Result{Outcome: Done, Index: 7}},
		"a put that is told":                  {Change{Kind: Put, Tell: true}, status(Pending), Result{Outcome: Done, Index: 7}},
	} {
		o := &op{change: c.change}
		require.Equal(t, c.want, o.resultOf(at, c.now), name)
		o.sent = []sentRound{{at, Result{Outcome: Done, Index: 3}}}
		require.EqualValues(t, 3, o.resultOf(at, c.now).Index, "what this node sent it knows")
	}
}
