package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
	"github.com/chord-plugin/chord-plugin/internal/jsontext"
)

// maxTxnInput bounds what is read of standard input, in bytes.
const maxTxnInput = 16 << 20

// opJSON is an operation as standard input has it.
type opJSON struct {
	Verb  backend.Verb `json:"verb"`
	Key   string       `json:"key"`
	Value *string      `json:"value"`
	// Base64 is a value that is no text.
	Base64       []byte `json:"base64"`
	Flags        uint64 `json:"flags"`
	Index        uint64 `json:"index"`
	Session      string `json:"session"`
	ExpiresAfter string `json:"expires_after"`
	FenceKey     string `json:"fence_key"`
	FenceToken   uint64 `json:"fence_token"`
}

func (o *opJSON) op() (backend.TxnOp, error) {
	op := backend.TxnOp{
		Verb: o.Verb, Key: o.Key, Value: o.Base64, Flags: o.Flags, Index: o.Index, Session: o.Session,
		Fence: backend.Fence{Key: o.FenceKey, Token: o.FenceToken},
	}
	if o.Value != nil {
		if o.Base64 != nil {
			return op, errors.New("value and base64 exclude each other")
		}
		op.Value = []byte(*o.Value)
	}
	if o.ExpiresAfter != "" {
		var err error
		if op.ExpiresAfter, err = time.ParseDuration(o.ExpiresAfter); err != nil {
			return op, fmt.Errorf("expires_after: %w", err)
		}
	}
	return op, nil
}

// resultJSON is a result as -json prints it.
type resultJSON struct {
	Op    int        `json:"op"`
	Entry *entryJSON `json:"entry"`
}

func newTxn(s *streams) *command {
	c := newCommand(s, "txn", "", "carries out operations on many keys in one step")
	c.text = `Standard input is a JSON array of operations, such as

    [{"verb": "check-index", "key": "a", "index": 7},
     {"verb": "set", "key": "b", "value": "text", "expires_after": "1h"}]

with the fields verb, key, value or base64, flags, index, session, expires_after,
fence_key and fence_token. A value that is not Unicode has to be in base64. All are carried out or none. The verbs are
` + verbText() + `.
The results are printed, those of get, get-or-empty and get-tree with values.`
	a := askingFlags(s, c.flags)
	c.run = func(ctx context.Context, _ []string) error {
		ops, err := c.readOps()
		if err != nil {
			return err
		}
		return a.do(ctx, func(ctx context.Context, agent *httpapi.Client) error {
			res, err := agent.Txn(ctx, ops)
			if err != nil {
				return explainOps(err)
			}
			return a.printResults(res)
		})
	}
	return c
}

// verbText is all verbs in two lines.
func verbText() string {
	var b strings.Builder
	verbs := backend.Verbs()
	for i, verb := range verbs {
		switch {
		case i == len(verbs)/2:
			b.WriteString(",\n")
		case i == len(verbs)-1:
			b.WriteString(" and ")
		case i > 0:
			b.WriteString(", ")
		}
		b.WriteString(string(verb))
	}
	return b.String()
}

// readOps reads standard input.
func (s *streams) readOps() ([]backend.TxnOp, error) {
	text, err := io.ReadAll(io.LimitReader(s.stdin, maxTxnInput+1))
	if err != nil {
		return nil, fmt.Errorf("read the operations from standard input: %w", err)
	}
	if len(text) > maxTxnInput {
		return nil, usagef("standard input has more than %d bytes; split the transaction", maxTxnInput)
	}
	var in []opJSON
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return nil, usagef("standard input is no JSON array of operations: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, usagef("standard input is no JSON array of operations: something follows the array")
	}
	if err := jsontext.Check(text); err != nil {
		return nil, usagef("standard input is no JSON array of operations: %w; give a value that is no text as base64", err)
	}
	ops := make([]backend.TxnOp, len(in))
	for i := range in {
		if ops[i], err = in[i].op(); err != nil {
			return nil, usagef("operation %d: %w", i, err)
		}
	}
	return ops, nil
}

// explainOps names every operation that failed.
func explainOps(err error) error {
	var e *backend.Error
	if !errors.As(err, &e) || len(e.Ops) == 0 {
		return err
	}
	lines := make([]string, len(e.Ops))
	for i, op := range e.Ops {
		lines[i] = fmt.Sprintf("\n  operation %d: %v", op.Op, &backend.Error{Code: op.Code, Key: op.Key, Message: op.Message})
	}
	return fmt.Errorf("nothing happened, since %s failed:%s", count(len(e.Ops), "operation"), strings.Join(lines, ""))
}

func (a *asking) printResults(res *backend.TxnResult) error {
	list, rows := make([]resultJSON, len(res.Results)), [][]string{{"OP", "KEY", "INDEX", "FLAGS", "SESSION", "VALUE"}}
	for i, one := range res.Results {
		e := one.Entry
		list[i] = resultJSON{Op: one.Op, Entry: toJSON(e)}
		value := ""
		if e.Value != nil {
			value = legible(e.Value)
		}
		rows = append(rows, []string{strconv.Itoa(one.Op), e.Key, strconv.FormatUint(e.ModifyIndex, 10), strconv.FormatUint(e.Flags, 10), e.Session, value})
	}
	if a.json {
		return printJSON(a.stdout, list)
	}
	return printTable(a.stdout, rows)
}
