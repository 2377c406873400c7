// Package vault tests what the adapter for Vault is for: real servers of Vault 1.14.2,
// which is built here from its own module, whose only storage are their plugins.
package vault
