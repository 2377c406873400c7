package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// printJSON prints v as indented JSON.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printTable prints rows in aligned columns. An empty field is a dash.
func printTable(w io.Writer, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, field := range row {
			if field == "" {
				row[i] = "-"
			}
		}
		if _, err := fmt.Fprintln(t, strings.Join(row, "\t")); err != nil {
			return err
		}
	}
	return t.Flush()
}

// printPairs prints names and values in two columns; those without a value are
// left out.
func printPairs(w io.Writer, pairs [][2]string) error {
	var rows [][]string
	for _, p := range pairs {
		if p[1] != "" {
			rows = append(rows, []string{p[0], p[1]})
		}
	}
	return printTable(w, rows)
}

// shortID is the beginning of an ID, enough for a person.
func shortID(id string) string { return id[:min(len(id), 9)] }

// percent is a part, 0 to 1.
func percent(part float64) string { return fmt.Sprintf("%.1f %%", 100*part) }

// seconds is a length of time, rounded for people.
func seconds(s float64) string {
	d := time.Duration(s * float64(time.Second))
	if d < time.Minute {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

// size is a number of bytes.
func size(bytes float64) string {
	units := []string{"bytes", "KiB", "MiB", "GiB", "TiB"}
	for len(units) > 1 && bytes >= 1024 {
		bytes, units = bytes/1024, units[1:]
	}
	if units[0] == "bytes" {
		return fmt.Sprintf("%.0f bytes", bytes)
	}
	return fmt.Sprintf("%.1f %s", bytes, units[0])
}
