// Package httpapi serves a backend over HTTP in the shapes of Consul's
// key/value API, and is the client for it.
//
// # Consul's part
//
//	GET    /v1/kv/KEY    raw, stale, consistent, pretty; index, wait
//	GET    /v1/kv/PREFIX ?recurse, or ?keys with separator (also: seperator)
//	PUT    /v1/kv/KEY    flags, cas
//	DELETE /v1/kv/KEY    cas, recurse
//	GET    /v1/status/leader, /v1/status/peers
//	GET    /v1/agent/self, /v1/agent/members, /v1/agent/metrics?format=prometheus
//	PUT    /v1/agent/leave, /v1/agent/force-leave/NAME
//
// /v1/agent/leave answers when the member has given away all that it owned; it
// takes up to Config.MaxTimeout, and may be asked for again after that.
// /v1/agent/force-leave removes a dead member and answers when that has begun;
// one that lives is refused. ?prune is taken and changes nothing.
//
// Every read is linearizable unless it says ?stale, so ?consistent is taken and
// changes nothing. ?dc and tokens are taken and not looked at. ?ns and
// ?partition are refused: ignoring them would mix what the caller keeps apart.
//
// With ?index a read waits until the key, or what lies under the prefix, has
// another index, or for ?wait: 5 minutes by default, 10 at most, and up to a 16th
// more by chance. It may also be answered without a change, as in Consul, and is
// at once for an index that the state does not have, also a greater one. Where the
// backend can not watch, every read is answered at once. ?acquire and ?release are
// refused.
//
// DELETE with ?recurse lists and then deletes one key after another: it is not
// atomic. When it fails half way the error is UnknownOutcome.
//
// A response lists at most 1,048,576 names; a longer listing is 413, and
// /v1/chord/list pages through it.
//
// # Keys in paths
//
// The key is everything after the endpoint, percent-decoded once and never
// cleaned: "a//b", "a/./b" and "a/../b" are three keys. A key with a "%" in it
// must be sent with "%25".
//
// # Indexes
//
// X-Consul-Index is the modify index of the one key asked for, for a prefix the
// newest change under it, and for a missing key or an empty prefix the newest
// index that this server has met, which is never 0 and never falls. A PUT
// answers with the new modify index in X-Chord-Index.
//
// # Errors
//
// The body is text. The header X-Chord-Error-Code names the backend's code, and
// X-Chord-Error-Key, X-Chord-Error-Message (both percent-encoded),
// X-Chord-Answered and X-Chord-Owners carry the rest, so that Client rebuilds
// the same backend.Error. A lost cas is 200 with the body false, as in Consul,
// and has the same headers.
//
//	400 invalid, read-only transaction    403 unauthorized, cross-origin
//	404 no such key, no such endpoint     405 method, with Allow
//	409 conflict outside cas, transaction conflict or done, fenced, lock lost
//	413 too large
//	500 unknown outcome, internal, session invalid, a flags or cas that is no number
//	503 no quorum, not ready, closed, too many requests; with Retry-After
//
// No quorum is 503, where Consul says 500 "No cluster leader": 503 is what load
// balancers understand, and it can not be taken for a fault of the server.
// Consul's own Go client retries the reads of a lock's watch on 500 only.
//
// # Our part
//
//	GET  /v1/health              200 when serving, else 503, with the reason
//	GET  /v1/ring                backend.Ring
//	GET  /v1/ring/locate/KEY     backend.Location
//	POST /v1/ring/remove         backend.RemoveRequest; backend.RemoveReport
//	POST /v1/ring/verify         backend.VerifyQuery; backend.VerifyPage
//	GET  /v1/chord/list          prefix, separator, after, limit, values
//	GET  /v1/chord/limits        backend.Limits, as this API applies them, and the
//	                             backend.Capability that it carries, as a number
//	GET  /v1/chord/watch         key or prefix, after: backend.Watcher's Watch
//	POST /v1/chord/pop/KEY       reads and deletes a key; 404 when there is none
//	POST /v1/chord/popitem       the same with any key
//
// A request in JSON has at most 512 KiB and no fields but those of its struct. A
// page of a verification is of 10,000 keys at most.
//
// The header X-Chord-Timeout (a Go duration, "1.5s") says how long the caller
// will wait. It becomes the deadline of the backend's call, within
// Config.MaxTimeout, and the response repeats what was granted.
package httpapi
