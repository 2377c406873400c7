// Loads chord-plugin into a Node program: starts the process, shakes hands as
// hashicorp/go-plugin does, and calls its gRPC service.
const { spawn } = require('node:child_process');
const { X509Certificate } = require('node:crypto');
const { once } = require('node:events');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const readline = require('node:readline');
const grpc = require('@grpc/grpc-js');
const protoLoader = require('@grpc/proto-loader');
const selfsigned = require('selfsigned');

const PROTOCOL = 1; // the version of backend.proto
const COOKIE = '55d1f6de-ea7f-4f2b-a41b-a302bd94d8d9'; // no secret: it keeps people from starting a plugin by hand
const START_MS = 30_000; // how long the plugin may take to start, and again to be configured
const GRACE_MS = 250; // this side waits so much longer than the plugin, whose own answer is to arrive
const LIMITS = { 'grpc.max_receive_message_length': 64 << 20, 'grpc.max_send_message_length': 64 << 20 };
const CODES = ['', 'Invalid', 'TooLarge', 'Conflict', 'NoQuorum', 'UnknownOutcome', 'TxnConflict', 'TxnReadOnly', 'TxnDone',
  'Fenced', 'SessionInvalid', 'LockLost', 'NotReady', 'Closed', 'Unauthorized', 'Internal'];
const CAPABILITIES = ['transactions', 'watches', 'sessions', 'locks', 'fences', 'expiry']; // the bits of InfoReply.contract
const READS = ['Info', 'Get', 'List', 'Watch', 'Begin', 'TxGet', 'TxList', 'Rollback', 'Session', 'Sessions'];

// Numbers of 64 bits come as strings, since an index need not fit a number.
const definition = protoLoader.loadSync(['../../../plugin/proto/backend.proto', 'status.proto'].map((f) => path.join(__dirname, f)), { longs: String, defaults: true });

// After Conflict and NotReady nothing has happened, after UnknownOutcome perhaps.
class ChordError extends Error {
  constructor(code, message, key = '') {
    super(`${code}${key && ` (${key})`}: ${message}`);
    Object.assign(this, { name: 'ChordError', code, key });
  }
}

// decode makes a ChordError of a failed call. The plugin's own error is a detail of
// the status. A status without one is gRPC's, and then a write may have happened.
function decode(err, method) {
  const details = (err.metadata?.get('grpc-status-details-bin') ?? []).flatMap((b) => definition['google.rpc.Status'].deserialize(b).details);
  for (const { value } of details.filter((d) => d.type_url.endsWith('/chordplugin.v1.Error'))) {
    const e = definition['chordplugin.v1.Error'].deserialize(value);
    return new ChordError(CODES[e.code] ?? 'Internal', e.message, e.key.toString());
  }
  if (err.code === grpc.status.UNIMPLEMENTED) return new ChordError('Invalid', `the plugin is too old for ${method}`);
  if (!READS.includes(method)) return new ChordError('UnknownOutcome', err.message);
  return new ChordError(err.code === grpc.status.UNAVAILABLE ? 'Closed' : 'NoQuorum', err.message);
}

exports.Chord = class Chord {
  // open starts the binary and configures it. The plugin's log goes to log, line by
  // line. It fails if the plugin lacks one of needs, which are names of CAPABILITIES.
  static async open(binary, config, { needs = [], log = () => {} } = {}) {
    const chord = new Chord();
    try {
      await chord.start(path.resolve(binary), log);
      const { info, closeTimeoutMs } = await chord.call('Configure', { config }, START_MS);
      chord.capabilities = CAPABILITIES.filter((_, bit) => info.contract & (1 << bit));
      chord.closeMs = Number(closeTimeoutMs) || 5_000;
      const missing = needs.filter((name) => !chord.capabilities.includes(name));
      if (missing.length > 0) throw new ChordError('Invalid', `the plugin ${info.version} has no ${missing}`);
      return Object.assign(chord, { info });
    } catch (err) {
      chord.process?.kill('SIGKILL');
      chord.clean();
      throw err;
    }
  }

  async start(binary, log) {
    const own = await selfsigned.generate([{ name: 'commonName', value: 'localhost' }], { keyType: 'ec', algorithm: 'sha256' });
    this.directory = fs.mkdtempSync(path.join(os.tmpdir(), 'chord-')); // for the socket
    // The plugin gets this environment, and nothing of the program's own.
    this.process = spawn(binary, { env: { CHORD_PLUGIN: COOKIE, PLUGIN_PROTOCOL_VERSIONS: `${PROTOCOL}`,
      PLUGIN_CLIENT_CERT: own.cert, PLUGIN_UNIX_SOCKET_DIR: this.directory } });
    this.exited = once(this.process, 'exit');
    readline.createInterface({ input: this.process.stderr }).on('line', log);
    const stdout = readline.createInterface({ input: this.process.stdout }); // read to the end, or the plugin waits
    const ended = this.exited.then(() => { throw new ChordError('Invalid', `${binary} did not start as a plugin; see its log`); });
    const [line] = await Promise.race([once(stdout, 'line', { signal: AbortSignal.timeout(START_MS) }), ended]);

    const [core, protocol, network, address, transport, certificate] = line.split('|');
    if (core !== '1' || transport !== 'grpc' || !certificate) throw new ChordError('Invalid', `${binary} did not shake hands: ${line}`);
    if (protocol !== `${PROTOCOL}`) throw new ChordError('Invalid', `${binary} speaks protocol ${protocol}, this program ${PROTOCOL}`);
    const theirs = new X509Certificate(Buffer.from(certificate, 'base64')).toString();
    const secure = grpc.credentials.createSsl(...[theirs, own.private, own.cert].map((pem) => Buffer.from(pem)));
    this.client = new grpc.Client(network === 'unix' ? `unix:${address}` : address, secure, { 'grpc.ssl_target_name_override': 'localhost', ...LIMITS });
  }

  // call calls a method of backend.proto. The chunks of one that streams are an array.
  call(method, request, ms = 10_000) {
    const metadata = new grpc.Metadata();
    metadata.set('chord-timeout-us', `${ms * 1000}`); // the plugin's deadline; gRPC's own follows
    const m = definition['chordplugin.v1.Backend'][method];
    const args = [m.path, m.requestSerialize, m.responseDeserialize, request, metadata, { deadline: Date.now() + ms + GRACE_MS }];
    return new Promise((resolve, reject) => {
      const done = (err, reply) => (err ? reject(decode(err, method)) : resolve(reply));
      if (!m.responseStream) return this.client.makeUnaryRequest(...args, done);
      const chunks = []; // complete with the one that says so
      return this.client.makeServerStreamRequest(...args).on('data', (chunk) => chunks.push(chunk)).on('error', done)
        .on('end', () => (chunks.at(-1)?.last ? done(null, chunks) : done(new Error('the answer was cut short'))));
    });
  }

  // close closes the plugin's backend, ends the process and waits for it.
  async close() {
    const late = setTimeout(() => this.process.kill('SIGKILL'), this.closeMs + 5_000);
    try {
      await this.call('Close', {}, this.closeMs);
    } finally { // go-plugin's call, which ends the serving and therefore has no answer
      this.client.makeUnaryRequest('/plugin.GRPCController/Shutdown', () => Buffer.alloc(0), () => null, {}, () => {});
      await this.exited;
      clearTimeout(late);
      this.clean();
    }
  }

  clean() {
    this.client?.close();
    if (this.directory) fs.rmSync(this.directory, { recursive: true, force: true });
  }
};
