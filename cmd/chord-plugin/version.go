package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is told to other nodes, to hosts and to people. A release sets it:
// go build -ldflags "-X main.version=1.2.3".
var version = "0.1.0-dev"

// versionText is the version with what the binary was built from.
func versionText() string {
	return fmt.Sprintf("chord-plugin %s (%s%s)", version, revision(), runtime.Version())
}

// revision is the commit that the binary was built from, as far as the build
// knows it, followed by ", ".
func revision() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	commit, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = s.Value[:min(len(s.Value), 12)]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = " with changes"
		}
	}
	if commit == "" {
		return ""
	}
	return "commit " + commit + modified + ", "
}

func newVersion(s *streams) *command {
	c := newCommand(s, "version", "", "prints the version of this program")
	asJSON := c.flags.Bool("json", false, "print JSON")
	c.run = func(context.Context, []string) error {
		if *asJSON {
			return printJSON(c.stdout, map[string]string{"version": version, "build": versionText(), "go": runtime.Version()})
		}
		_, err := fmt.Fprintln(c.stdout, versionText())
		return err
	}
	return c
}
