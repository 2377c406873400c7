package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

// listPage is how many names are fetched at a time; each page is one snapshot.
const listPage = 1000

// itemJSON is one name of a listing as -json prints it.
type itemJSON struct {
	Name   string     `json:"name"`
	Folded bool       `json:"folded,omitempty"`
	Entry  *entryJSON `json:"entry,omitempty"`
}

func newList(s *streams) *command {
	c := newCommand(s, "kv list", "[PREFIX]", "lists keys in the order of their bytes")
	c.text = `A listing of up to ` + strconv.Itoa(listPage) + ` names shows one instant; a longer one is made of
pages, each of which does.`
	c.most = 1
	a := askingFlags(s, c.flags)
	separator := c.flags.String("separator", "", "fold keys that go on behind this `TEXT` into one name, such as /")
	values := c.flags.Bool("values", false, "print the values as well; those that are no text are quoted")
	c.run = func(ctx context.Context, args []string) error {
		return a.do(ctx, func(ctx context.Context, agent *httpapi.Client) error {
			q := backend.ListQuery{Separator: *separator, Values: *values, Limit: listPage}
			if len(args) == 1 {
				q.Prefix = args[0]
			}
			all := []itemJSON{}
			for {
				page, err := agent.List(ctx, q)
				if err != nil {
					return err
				}
				for _, item := range page.Items {
					all = append(all, itemJSON{Name: item.Name, Folded: item.Folded, Entry: toJSON(item.Entry)})
				}
				if !page.More || len(page.Items) == 0 {
					break
				}
				q.After = page.Items[len(page.Items)-1].Name
			}
			if a.json {
				return printJSON(c.stdout, all)
			}
			return c.printList(all, *values)
		})
	}
	return c
}

func (c *command) printList(items []itemJSON, values bool) error {
	if !values {
		for _, item := range items {
			if _, err := fmt.Fprintln(c.stdout, item.Name); err != nil {
				return err
			}
		}
		return nil
	}
	rows := [][]string{{"KEY", "INDEX", "FLAGS", "VALUE"}}
	for _, item := range items {
		if item.Entry == nil { // a folded name
			rows = append(rows, []string{item.Name, "", "", ""})
			continue
		}
		rows = append(rows, []string{
			item.Name, strconv.FormatUint(item.Entry.ModifyIndex, 10), strconv.FormatUint(item.Entry.Flags, 10), legible(item.Entry.Value),
		})
	}
	return printTable(c.stdout, rows)
}

// legible returns a value as it is when it is a line of text, else quoted.
func legible(value []byte) string {
	s := string(value)
	if s == "" || s == "-" || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
