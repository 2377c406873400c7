// Package httpapi serves a backend over HTTP in the shapes of Consul's
// key/value API, and is the client for it.
//
// # Consul's part
//
//	GET    /v1/kv/KEY    raw, stale, consistent, pretty; index, wait
//	GET    /v1/kv/PREFIX ?recurse, or ?keys with separator (also: seperator)
//	PUT    /v1/kv/KEY    flags; cas, or acquire or release with a session
//	DELETE /v1/kv/KEY    cas, recurse
//	PUT    /v1/txn       operations of the kind KV; stale, consistent
//	PUT    /v1/session/create, /v1/session/renew/ID, /v1/session/destroy/ID
//	GET    /v1/session/info/ID, /v1/session/list, /v1/session/node/NAME; index, wait
//	GET    /v1/status/leader, /v1/status/peers
//	GET    /v1/agent/self, /v1/agent/members, /v1/agent/metrics?format=prometheus
//	PUT    /v1/agent/leave, /v1/agent/force-leave/NAME
//	PUT    /v1/agent/service/register, /v1/agent/service/deregister/ID
//	PUT    /v1/agent/check/register, /v1/agent/check/deregister/ID, /v1/agent/check/update/ID
//
// The last two lines are accepted and ignored: there is no catalog of services and
// no health check here. Vault registers itself unless it is told not to.
//
// /v1/agent/leave answers when the member has given away all that it owned; it
// takes up to Config.MaxTimeout, and may be asked for again after that.
// /v1/agent/force-leave removes a dead member and answers when that has begun;
// one that lives is refused. ?prune is taken and changes nothing.
//
// Every read is linearizable unless it says ?stale, so ?consistent is taken and
// changes nothing. ?stale asks one owner, and nobody knows how far that is behind:
// X-Consul-LastContact is always 0. A blocking query is linearizable all the same.
// Tokens are taken and not looked at. ?ns and ?partition are refused, and any ?dc but
// dc1: ignoring them would mix what the caller keeps apart.
//
// With ?index a read waits until the key, or what lies under the prefix, has
// another index, or for ?wait: 5 minutes by default, 10 at most, and up to a 16th
// more by chance. It may also be answered without a change, as in Consul, and is
// at once for an index that the state does not have, also a greater one. Where the
// backend can not watch, every read is answered at once.
//
// Indexes of different keys have no order, so that a change may leave the index of a
// prefix as it is. The answer then has an index below the caller's: forget the index
// and read anew, as Consul's documentation says of an index that goes backwards.
//
// DELETE with ?recurse is atomic up to backend.MaxTxnTree keys. A larger tree is
// deleted one key after another: keys that are written meanwhile may stay, and when
// it fails half way the error is UnknownOutcome.
//
// DELETE with ?cas is true for a key that does not exist, whatever the index, as in
// Consul; the headers say conflict then, as backend.Backend does. In a transaction
// delete-cas of such a key fails.
//
// What needs transactions or sessions is 400 where the backend has none.
//
// A response lists at most 1,048,576 names, and names and values of 64 MiB together; a
// larger listing is 413. /v1/chord/list pages through it, and a page ends there too,
// with More. Four listings run at once that may have more than 4 MiB; further ones
// wait for their turn.
//
// # Transactions
//
// The JSON of /v1/txn may have 512 KiB, or Config.MaxValueSize if that is more, and
// backend.MaxTxnOps operations. It is 200 with the Results, or 409 with the Errors
// of all operations that failed, which is a TxnConflict too: that of a transaction
// which lost against others over and over. Value is null but for get, get-or-empty
// and get-tree. An operation that no state of the keys makes right is 400, and one
// that is not of the kind KV. A transaction that only reads is as linearizable with
// ?stale as without.
//
// # Sessions and locks
//
// /v1/session/create takes Name, Node, LockDelay, Behavior and TTL as Consul does.
// LockDelay is a duration in words, or a number: of seconds below 1,000, else of
// nanoseconds; more than a minute is a minute. Node is only kept; without it, it is
// this one. No check ends a session here and neither does the death of a node: a
// session without TTL ends when it is destroyed. So "serfHealth" is taken and not
// looked at, and any other check is refused as one that is not registered.
//
// A session's index is that of its creation. Nothing tells of the end of one, so
// X-Consul-Index of a list, and of a session that is gone, is the highest that this
// server has met; and a blocking query looks every second whether the answer is
// another, and is answered after 10 seconds in any case. Where the index is the
// caller's own then, a lower one is told, as of a prefix.
//
// A lock is a key that a live session holds: ?acquire and ?release answer true, or
// false when they are lost, and 500 "invalid session" when the session has ended.
//
// # Browsers
//
// A page may make a browser send requests to a node on loopback. One of another
// origin is refused, and with Config.Hosts one for a name that is not this node's:
// whoever owns a name can have it lead to loopback.
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
// index that this server has met, which is never 0 and never falls; after ?stale it
// is 1. A PUT answers with the new modify index in X-Chord-Index, and so does the
// making of a session.
//
// # Errors
//
// The body is text. The header X-Chord-Error-Code names the backend's code, and
// X-Chord-Error-Key, X-Chord-Error-Message (both percent-encoded),
// X-Chord-Answered and X-Chord-Owners carry the rest, so that Client rebuilds
// the same backend.Error. A lost cas is 200 with the body false, as in Consul,
// and has the same headers; so does a 409 of /v1/txn. Where the error is about
// operations of a transaction, X-Chord-Error-Ops counts them, and the body has them
// in JSON: {"Ops":[{"Op":0,"Code":3,"Key":"k","Message":"..."}]}.
//
//	400 invalid, read-only transaction    403 unauthorized, cross-origin, not our Host
//	404 no such key, no such endpoint     405 method, with Allow
//	409 conflict outside cas, transaction conflict or done, fenced, lock lost
//	413 too large
//	500 unknown outcome, internal, session invalid, a flags or cas that is no number,
//	    a TTL, Behavior or check that can not be, another datacenter than dc1
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
//	POST /v1/chord/txn           backend.Transactional's Txn: {"Ops":[{"Verb":"set",
//	                             "Key":"k","Value":"dg==","Flags":0,"Index":0,
//	                             "Session":"","ExpiresAfter":"30s","FenceKey":"",
//	                             "FenceToken":0}]}; {"Results":[{"Op":0,"Entry":{}}]}
//	POST /v1/chord/tx/begin      read_only; {"ID":"..."}
//	POST /v1/chord/tx/get        id, key; as /v1/kv/KEY
//	POST /v1/chord/tx/list       id; as /v1/chord/list
//	POST /v1/chord/tx/put        id, key, flags, expires_after; the value
//	POST /v1/chord/tx/delete     id, key
//	POST /v1/chord/tx/commit     id
//	POST /v1/chord/tx/rollback   id
//	POST /v1/chord/fence         fence_key, fence_token: backend.Fencer's Fence
//
// A request in JSON has at most 512 KiB, 16 MiB for /v1/chord/txn, and no fields but
// those of its struct. A page of a verification is of 10,000 keys at most.
//
// A plain PUT takes ?expires_after with a duration, "30s", after which the key is to
// disappear. PUT and DELETE of keys, tx/put and tx/delete take the fence of a lock as
// ?fence_key and ?fence_token; a pop has none and refuses them.
// An entry has its ExpiresAfter and its LockToken, of which a fence is made, when it
// has them. /v1/session/create takes Data in base64, which is given back, and Node is
// not kept then.
//
// An interactive transaction is one of this agent. At most 256 are open, further ones
// are 503; one that is left alone for a minute is rolled back, and all are when the
// agent stops.
//
// The header X-Chord-Timeout (a Go duration, "1.5s") says how long the caller
// will wait. It becomes the deadline of the backend's call, within
// Config.MaxTimeout, and the response repeats what was granted. A body has to arrive
// within Config.RequestTimeout all the same.
package httpapi
