// Package fleet runs real Vault servers on loopback, each a process with a plugin
// process of its own as its storage, the plugins being the members of one ring; and it
// does to them what happens to processes. It sees them as curl would: through HTTP.
//
// Nothing that it starts outlives the program that uses it: Close ends everything, and
// a watchdog beside each server kills the server and its plugin when the program is gone
// without having called Close. All waiting is bounded.
package fleet
