package agent

import (
	"fmt"
	"strings"
)

// Data says where the node keeps its data.
func (c *Config) Data() string {
	switch {
	case c.alone():
		return "in memory, a ring of one member to try things out: it is lost when the agent stops"
	case c.node.Memory:
		return "in memory: it is lost when the agent stops"
	case c.node.DataDir == "":
		return "none: a client keeps no keys"
	}
	return c.node.DataDir
}

// Intention says how the node comes to a ring.
func (c *Config) Intention() string {
	seeds := strings.Join(c.node.Seeds, ", ")
	switch {
	case c.node.Expect == 1 && seeds == "":
		return "founds one of one member"
	case c.node.Expect == 0 && seeds == "":
		return "waits for a member of one to appear"
	case c.node.Expect == 0:
		return "joins that of " + seeds
	}
	return fmt.Sprintf("founds one when %d members are here that expect %d", c.node.Expect, c.node.Expect)
}
