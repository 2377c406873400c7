// Package plugin carries a backend across a process border with
// github.com/hashicorp/go-plugin: Serve is the plugin's side, Open the host's.
// What travels is written down in proto/backend.proto, so that either side can
// be replaced by another program.
//
// A host calls Open with the path of the plugin's binary and a configuration,
// and gets a Client, which is a backend.Backend and a backend.Admin and can do
// whatever else of the contract the plugin's backend can; see Client.Capabilities.
// Interactive transactions are kept by the plugin, locks by the host. The plugin
// runs as a child process that inherits nothing of the host's environment, and
// the two authenticate each other with certificates made for this one run. A
// host that dies takes its plugin with it; a plugin that dies is noticed at
// once, and Open starts another one.
package plugin
