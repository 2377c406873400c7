// A plugin in Node, which a host of chord-plugin starts with node as the program and
// this file as its argument. It keeps keys in memory and has none of the capabilities:
// this is the least that a plugin can be.
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { X509Certificate } = require('node:crypto');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const selfsigned = require('selfsigned');

const definition = protoLoader.loadSync(['../../../plugin/proto/backend.proto', 'status.proto'].map((f) => path.join(__dirname, f)), { longs: String, defaults: true });
const LIMITS = { maxKeySize: 2048, maxValueSize: 8 << 20 };
const ERRORS = { // by name: the number in backend.proto, and the status for tools
  Invalid: [1, grpc.status.INVALID_ARGUMENT], TooLarge: [2, grpc.status.OUT_OF_RANGE], Conflict: [3, grpc.status.FAILED_PRECONDITION],
  NotReady: [12, grpc.status.UNAVAILABLE], Closed: [13, grpc.status.UNAVAILABLE], Internal: [15, grpc.status.INTERNAL],
};

// fail makes the error of a call: a status whose detail is an Error.
function fail(name, message, key = Buffer.alloc(0)) {
  const [code, status] = ERRORS[name];
  const value = definition['chordplugin.v1.Error'].serialize({ code, key: key.subarray(0, 4096), message });
  const metadata = new grpc.Metadata();
  metadata.set('grpc-status-details-bin', definition['google.rpc.Status'].serialize({
    code: status, message, details: [{ type_url: 'type.googleapis.com/chordplugin.v1.Error', value }] }));
  return Object.assign(new Error(message), { code: status, details: message, metadata });
}

// Keys are kept as latin1 strings, whose order is that of the bytes.
const text = (bytes) => bytes.toString('latin1');
const entries = new Map(); // key -> Entry
const deletions = new Map(); // key -> index of its deletion
let index = 1n; // the last index that was given
let state = 'fresh';

function checkKey(key) {
  if (key.length > LIMITS.maxKeySize) throw fail('TooLarge', `the key has ${key.length} bytes and may have ${LIMITS.maxKeySize}`, key);
  if (key.length === 0) throw fail('Invalid', 'the key is empty');
  let string;
  try {
    string = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(key);
  } catch {
    throw fail('Invalid', 'a key must be valid UTF-8', key);
  }
  if (string.startsWith('/') || /\p{Cc}/u.test(string)) throw fail('Invalid', 'a key must not begin with / or hold control characters', key);
  return text(key);
}

// change checks the key and the condition of a change, and returns the key.
function change({ key, ifIndex }) {
  const k = checkKey(key);
  const have = entries.get(k)?.modifyIndex ?? '0';
  if (ifIndex != null && ifIndex !== have) throw fail('Conflict', `the key's index is ${have}, not ${ifIndex}`, key);
  return k;
}

function remove(k) {
  const entry = entries.get(k) ?? null;
  if (entry && entries.delete(k)) deletions.set(k, ++index);
  return entry;
}

const max = (a, b) => (a > b ? a : b);

const calls = {
  Get: ({ key }) => ({ entry: entries.get(checkKey(key)) ?? null }),
  Put({ key, value, flags, ifIndex }) {
    const k = change({ key, ifIndex });
    if (value.length > LIMITS.maxValueSize) throw fail('TooLarge', 'put failed due to value being too large', key);
    const modifyIndex = `${++index}`;
    entries.set(k, { key, value, flags, modifyIndex, createIndex: entries.get(k)?.createIndex ?? modifyIndex });
    return { index: modifyIndex };
  },
  Delete(request) { remove(change(request)); return {}; },
  Pop: ({ key }) => ({ entry: remove(checkKey(key)) }),
  PopItem: () => ({ entry: entries.size > 0 ? remove(entries.keys().next().value) : null }),
  List({ prefix, separator, after, limit, values }) {
    const [p, s, a, most] = [prefix.length > 0 ? checkKey(prefix) : '', text(separator), text(after), Number(limit)];
    if (after.length > 2 * LIMITS.maxKeySize || separator.length > LIMITS.maxKeySize) throw fail('TooLarge', 'after or the separator is larger than keys can be');
    const items = [];
    const last = { last: true, more: false, index: 0n };
    for (const [k, deleted] of deletions) if (k.startsWith(p)) last.index = max(last.index, deleted);
    for (const k of [...entries.keys()].filter((k) => k.startsWith(p)).sort((x, y) => (x < y ? -1 : 1))) {
      const entry = entries.get(k);
      last.index = max(last.index, BigInt(entry.modifyIndex));
      const end = s === '' ? -1 : k.indexOf(s, p.length);
      const [name, folded] = end < 0 ? [k, false] : [k.slice(0, end + s.length), true];
      if (name <= a || (folded && items.at(-1)?.name === name)) continue;
      if (most > 0 && items.length === most) {
        last.more = true;
        break;
      }
      items.push({ name, folded, entry: values && !folded ? entry : null });
    }
    // One chunk an item, so that none is larger than a message.
    return [...items.map((item) => ({ items: [{ ...item, name: Buffer.from(item.name, 'latin1') }] })), { ...last, index: `${last.index}` }];
  },
};

const info = () => ({ version: 'node', protocol: 1, capabilities: [], ready: state === 'open', contract: 0 });
const ends = {
  Info: info,
  Configure({ config }) {
    if (state === 'open') throw fail('Invalid', 'the plugin is already configured');
    if (Object.keys(config ?? {}).length > 0) throw fail('Invalid', `there is no setting ${Object.keys(config)}`);
    state = 'open';
    return { info: info(), limits: LIMITS };
  },
  Close() { state = 'closed'; return {}; },
};

// handler answers a call; one that streams gets its chunks.
function handler(name, f) {
  return (call, callback) => {
    let reply;
    try {
      if (state === 'closed' && name !== 'Close' && name !== 'Info') throw fail('Closed', 'the backend was closed');
      if (state === 'fresh' && name in calls) throw fail('NotReady', 'the plugin is not configured; call Configure first');
      reply = f(call.request);
    } catch (err) {
      const failed = err.metadata ? err : fail('Internal', `${err}`);
      return callback ? callback(failed) : call.emit('error', failed);
    }
    if (callback) return callback(null, reply);
    for (const chunk of reply) call.write(chunk);
    return call.end();
  };
}

async function serve() {
  if (process.env.CHORD_PLUGIN !== '55d1f6de-ea7f-4f2b-a41b-a302bd94d8d9') throw new Error('this is a plugin; a host of chord-plugin starts it');
  const server = new grpc.Server({ 'grpc.max_receive_message_length': 64 << 20, 'grpc.max_send_message_length': 64 << 20, 'grpc.max_concurrent_streams': 4096 });
  server.addService(definition['chordplugin.v1.Backend'], Object.fromEntries(Object.entries({ ...calls, ...ends }).map(([n, f]) => [n, handler(n, f)])));
  server.addService({ Shutdown: { path: '/plugin.GRPCController/Shutdown', requestStream: false, responseStream: false,
    requestDeserialize: () => ({}), responseSerialize: () => Buffer.alloc(0) } }, { Shutdown: () => process.exit(0) });
  const own = await selfsigned.generate([{ name: 'commonName', value: 'localhost' }], { keyType: 'ec', algorithm: 'sha256' });
  const secure = grpc.ServerCredentials.createSsl(Buffer.from(process.env.PLUGIN_CLIENT_CERT), [{ private_key: Buffer.from(own.private), cert_chain: Buffer.from(own.cert) }], true);
  const socket = path.join(process.env.PLUGIN_UNIX_SOCKET_DIR ?? os.tmpdir(), `plugin${process.pid}`);
  await new Promise((resolve, reject) => { server.bindAsync(`unix:${socket}`, secure, (err) => (err ? reject(err) : resolve())); });
  const certificate = new X509Certificate(own.cert).raw.toString('base64').replaceAll('=', '');
  process.stdout.write(`1|1|unix|${socket}|grpc|${certificate}\n`);

  process.on('exit', () => fs.rmSync(socket, { force: true }));
  for (const signal of ['SIGINT', 'SIGHUP']) process.on(signal, () => {}); // a terminal sends them to the host as well
  process.on('SIGTERM', () => process.exit(0));
  const parent = process.ppid;
  setInterval(() => { if (process.ppid !== parent) process.exit(0); }, 500);
}

serve().catch((err) => { console.error(`${err}`); process.exit(1); });
