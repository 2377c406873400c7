// Package hosting opens a backend as the storage stanza of a host says, and does
// what the adapters for hosts with a physical storage of Vault's kind have in
// common. It knows none of these hosts: backend/vault and backend/openbao, modules
// of their own, put its Store into the types of their SDKs.
package hosting
