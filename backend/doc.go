// Package backend is the contract between chord-plugin and its hosts: the
// types, the operations, the error codes and the limits. The ring, the memory
// backend, the plugin client and the HTTP client all satisfy Backend, and
// package backendtest states the contract as tests that each of them passes.
//
// It imports the standard library only.
package backend
