package main

import (
	"context"
	_ "unsafe" // for go:linkname

	"github.com/hashicorp/vault/builtin/logical/transit"
	"github.com/hashicorp/vault/sdk/framework"
	"github.com/hashicorp/vault/sdk/logical"
	"github.com/hashicorp/vault/vault"
)

// Vault's sources are built with the SDK beside them, which no registry has. The one
// that has all that they use, 0.9.2, panics with "defines a CreateOperation but no
// ExistenceCheck" where theirs does not: on paths of Vault's other edition, which only
// answer that they are not there, and on one path of transit.

//go:linkname entPaths github.com/hashicorp/vault/vault.entPaths
var entPaths func(*vault.SystemBackend) []*framework.Path

//go:linkname logicalBackends github.com/hashicorp/vault/command.logicalBackends
var logicalBackends map[string]logical.Factory

// fitSDK makes Vault one that the SDK takes.
func fitSDK() {
	entPaths = func(*vault.SystemBackend) []*framework.Path { return nil }
	logicalBackends["transit"] = newTransit
}

// newTransit is transit's own factory, with the check that makes of every create an
// update, as Vault does where there is no check.
func newTransit(ctx context.Context, conf *logical.BackendConfig) (logical.Backend, error) {
	b, err := transit.Backend(ctx, conf)
	if err != nil {
		return nil, err
	}
	for _, p := range b.Paths {
		if _, creates := p.Operations[logical.CreateOperation]; creates && p.ExistenceCheck == nil {
			p.ExistenceCheck = func(context.Context, *logical.Request, *framework.FieldData) (bool, error) { return true, nil }
		}
	}
	if err := b.Setup(ctx, conf); err != nil {
		return nil, err
	}
	return b, nil
}
