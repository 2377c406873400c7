// Package agent runs a node of the ring as settings say: by itself with an HTTP
// API, in a plugin's process, or in that of a host.
package agent
