package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/chord-plugin/chord-plugin/backend"
	"github.com/chord-plugin/chord-plugin/httpapi"
)

// newMembers, newLocate and newStatus make commands that look at a ring.

func newMembers(s *streams) *command {
	c := newCommand(s, "members", "", "lists the nodes that the agent knows")
	a := askingFlags(s, c.flags)
	c.run = func(ctx context.Context, _ []string) error {
		return a.do(ctx, func(ctx context.Context, agent *httpapi.Client) error {
			members, err := agent.Members(ctx)
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(c.stdout, members)
			}
			rows := [][]string{{"NAME", "ID", "ROLE", "STATE", "GOSSIP", "MESH", "HTTP", "VERSION"}}
			for _, m := range members {
				rows = append(rows, []string{m.Name, shortID(m.ID), m.Role, m.State, m.GossipAddr, m.MeshAddr, m.HTTPAddr, m.Version})
			}
			return printTable(c.stdout, rows)
		})
	}
	return c
}

func newLocate(s *streams) *command {
	c := newCommand(s, "locate", "KEY", "shows where a key lives and what each owner holds")
	c.text = `The first owner is the key's primary. A ballot "none" means that the owner
holds nothing of the key. With -json the key's five points on the ring are
printed as well.`
	c.least, c.most = 1, 1
	a := askingFlags(s, c.flags)
	c.run = func(ctx context.Context, args []string) error {
		return a.do(ctx, func(ctx context.Context, agent *httpapi.Client) error {
			location, err := agent.Locate(ctx, args[0])
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(c.stdout, location)
			}
			rows := [][]string{{"OWNER", "ID", "STATE", "BALLOT", "INDEX", "LIVE", "ERROR"}}
			for _, o := range location.Owners {
				rows = append(rows, []string{o.Name, shortID(o.ID), o.State, o.Ballot, strconv.FormatUint(o.Index, 10), strconv.FormatBool(o.Live), o.Error})
			}
			return printTable(c.stdout, rows)
		})
	}
	return c
}

func newStatus(s *streams) *command {
	c := newCommand(s, "status", "", "shows how the agent is")
	a := askingFlags(s, c.flags)
	c.run = func(ctx context.Context, _ []string) error {
		return a.do(ctx, func(ctx context.Context, agent *httpapi.Client) error {
			status, err := agent.Status(ctx)
			if err != nil {
				return err
			}
			if a.json {
				return printJSON(c.stdout, status)
			}
			return printPairs(c.stdout, statusPairs(status))
		})
	}
	return c
}

func statusPairs(s *backend.Status) [][2]string {
	members, quorum := "", ""
	if s.RingID != "" {
		members = fmt.Sprintf("%d of %d alive", s.Alive, s.Members)
		quorum = "every key can be served"
		if !s.Quorum {
			quorum = "too few members are alive for some keys"
		}
	}
	return [][2]string{
		{"name", s.Name},
		{"id", shortID(s.ID)},
		{"version", s.Version},
		{"role", s.Role},
		{"state", s.State},
		{"reason", s.Reason},
		{"ring", s.RingID},
		{"epoch", strconv.FormatUint(s.Epoch, 10)},
		{"members", members},
		{"quorum", quorum},
		{"change", s.Change},
		{"repair", repairText(s.Repair)},
		{"keys here", "about " + strconv.FormatUint(s.Keys, 10) + ", tombstones and recent overwrites included"},
		{"disk", strconv.FormatUint(s.DiskBytes, 10) + " bytes"},
		{"data", s.DataDir},
		{"gossip", s.GossipAddr},
		{"mesh", s.MeshAddr},
		{"http", s.HTTPAddr},
		{"peers", strconv.Itoa(s.PeersConnected) + " connected"},
		{"up", (time.Duration(s.UptimeSeconds) * time.Second).String()},
	}
}

// repairText says how far a member is in comparing its copies.
func repairText(r *backend.RepairStatus) string {
	if r == nil {
		return ""
	}
	var parts []string
	if r.Running {
		parts = append(parts, fmt.Sprintf("compares with %s, %s done", r.With, percent(r.Done)))
	}
	if len(r.Behind) > 0 {
		parts = append(parts, "has still to compare with "+strings.Join(r.Behind, ", "))
	}
	last := "no whole comparison yet"
	if r.LastSeconds >= 0 {
		last = "the last whole comparison ended " + seconds(r.LastSeconds) + " ago"
	}
	return strings.Join(append(parts, last, fmt.Sprintf("%d copies mended here, %d elsewhere", r.Received, r.Given)), "; ")
}
