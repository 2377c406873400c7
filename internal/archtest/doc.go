// Package archtest holds the rules of the source tree as tests: who imports whom,
// which package alone may use a library, and that every package says what it is.
package archtest
