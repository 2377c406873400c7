// A driver that Vault links brings a root certificate with a negative serial number,
// which Go 1.23 and later refuse to read unless told otherwise.

//go:debug x509negativeserial=1

// Command server is Vault 1.14.2 itself, with all its commands, and with one more
// storage: chord. What it sets is not exported and therefore linked by name; who builds
// Vault from its sources adds a line to command/commands.go instead, as
// docs/hosts/vault.md says.
package main

import (
	"os"
	_ "unsafe" // for go:linkname

	"github.com/hashicorp/vault/command"
	"github.com/hashicorp/vault/sdk/physical"

	chordvault "github.com/chord-plugin/chord-plugin/backend/vault"
)

//go:linkname physicalBackends github.com/hashicorp/vault/command.physicalBackends
var physicalBackends map[string]physical.Factory

func main() {
	physicalBackends["chord"] = chordvault.Factory
	fitSDK()
	os.Exit(command.Run(os.Args[1:]))
}
