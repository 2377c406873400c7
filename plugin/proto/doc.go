// Package proto is the protocol between a host and the plugin. backend.proto
// says what each call means; the rest is generated from it.
package proto

//go:generate ./generate.sh
