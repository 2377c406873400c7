// Package moving brings the keys of other stores into a backend and takes them
// out again.
//
// It reads the directory of Vault's file storage, the snapshots of Vault's and
// OpenBao's Raft storage, what "consul kv export" prints, and a format of its own,
// lines of JSON; it writes the last two.
//
// An Import reads its source twice. The first time nothing is written: every key
// is checked and summed, and compared with what the backend has. The second time
// those that are missing are written, and keys that the source does not have are
// deleted if they are to be. Then everything is read back. Nothing is
// remembered between runs, since the backend itself shows how far an import came: a
// key that is there and equal is left alone.
package moving
