package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chord-plugin/chord-plugin/backend"
)

const (
	// lookEvery is how often a command looks how far something is.
	lookEvery = time.Second
	// plainEvery is how often it says so where that is not a terminal.
	plainEvery = 5 * time.Second
	// maxColumns is how much of a line a terminal is sure to show in one row.
	maxColumns = 79
)

// terminal reports whether somebody sits in front of a stream.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// progress shows how far something is: on a terminal in one line that is written
// over, else in a line every few seconds if there is news.
type progress struct {
	w        io.Writer
	terminal bool
	shown    string
	at       time.Time // when that was
}

func (s *streams) progress() *progress {
	return &progress{w: s.stderr, terminal: terminal(s.stderr)}
}

func (p *progress) show(now time.Time, text string) error {
	if text == p.shown || !p.terminal && !p.at.IsZero() && now.Sub(p.at) < plainEvery {
		return nil
	}
	p.shown, p.at = text, now
	if !p.terminal {
		_, err := fmt.Fprintln(p.w, text)
		return err
	}
	if utf8.RuneCountInString(text) > maxColumns {
		text = string([]rune(text)[:maxColumns-3]) + "..."
	}
	_, err := fmt.Fprint(p.w, "\r\x1b[K"+text)
	return err
}

// end clears what is shown on a terminal.
func (p *progress) end() error {
	if !p.terminal || p.shown == "" {
		return nil
	}
	p.shown = ""
	_, err := fmt.Fprint(p.w, "\r\x1b[K")
	return err
}

// changeText says in a line how far a change of the ring is.
func changeText(r *backend.Ring) string {
	text := fmt.Sprintf("epoch %d", r.Epoch)
	if r.Change != "" {
		text += ": " + r.Change
	}
	for _, m := range r.Members {
		if m.Sync != nil && !m.Synced {
			text += fmt.Sprintf("; %s: %s", m.Name, syncText(m))
		}
	}
	return text
}

// syncText says how far a member is in copying what it is to own.
func syncText(m backend.RingMember) string {
	switch {
	case m.Synced:
		return "done"
	case m.Change == "leaves":
		return ""
	case m.Sync == nil:
		return "does not say"
	}
	parts := []string{
		percent(m.Sync.Done),
		fmt.Sprintf("%d keys", m.Sync.Keys),
		fmt.Sprintf("%s at %s/s", size(float64(m.Sync.Bytes)), size(m.Sync.Rate)),
	}
	if m.Sync.SecondsLeft >= 0 {
		parts = append(parts, seconds(m.Sync.SecondsLeft)+" left")
	}
	return strings.Join(parts, ", ")
}
