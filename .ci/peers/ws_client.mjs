// npm `ws` as a client: `node ws_client.mjs URL` against an echo server. See README.md beside this file.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.PEER_HOME}/`);
const WebSocket = require('ws');
const version = require('ws/package.json').version;
const url = process.argv[2];
const MIB = 1 << 20;
const BINARY = Buffer.alloc(MIB, Buffer.from(Array.from({ length: 251 }, (_, n) => n)));
const TEXT = 'grüße, 世界 🌍 '.repeat(MIB / 32);
const MASK = Buffer.alloc(4); // a mask key of zeros, so that the bytes on the wire can be read here

function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error(`${what}: nothing in ${ms} ms`)), ms); });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

// An open connection with a queue of what came.
function open(protocols = [], options = {}) {
  const ws = new WebSocket(url, protocols, { maxPayload: 64 * MIB, ...options });
  const got = [], waiting = [];
  ws.on('message', (data, binary) => {
    const message = binary ? data : data.toString();
    if (waiting.length) waiting.shift()(message); else got.push(message);
  });
  ws.on('error', () => {});
  ws.closed = new Promise((yes) => ws.on('close', (code, reason) => yes([code, reason.toString()])));
  ws.next = () => within(10000, got.length ? Promise.resolve(got.shift()) : new Promise((yes) => waiting.push(yes)), 'message');
  return within(10000, new Promise((yes, no) => {
    ws.on('open', () => yes(ws));
    ws.on('unexpected-response', (_, response) => no(new Error(`status ${response.statusCode}`)));
    ws.on('error', no);
  }), 'open');
}

async function equal(ws, message) {
  ws.send(message);
  const got = await ws.next();
  assert.equal(typeof got, typeof message);
  assert.ok(Buffer.from(got).equals(Buffer.from(message)), `sent ${message.length}, got ${got.length} other ones`);
}

async function closed(ws, code, reason, ms = 5000) {
  const seen = await within(ms, ws.closed, 'close');
  assert.deepEqual(seen, [code, reason]);
}

// Writes bytes past the library; the server's close frame must carry this code, and soon.
const wrong = (code, ...bytes) => async () => {
  const ws = await open([], { perMessageDeflate: false });
  await equal(ws, 'before');
  ws._socket.write(Buffer.concat(bytes.map((piece) => Buffer.from(piece))));
  const [seen] = await within(5000, ws.closed, 'close');
  assert.equal(seen, code);
};

const cases = {
  async 'text'() {
    const ws = await open();
    for (const text of ['hello', 'grüße, 世界 🌍', '']) await equal(ws, text);
    ws.close();
    await closed(ws, 1005, '');
  },
  async 'binary'() {
    const ws = await open();
    await equal(ws, Buffer.from([0, 255, 128]));
    await equal(ws, Buffer.alloc(0));
    ws.close(1000);
    await closed(ws, 1000, '');
  },
  async '1 MiB, compression offered'() {
    const ws = await open();
    await equal(ws, BINARY);
    await equal(ws, TEXT);
    ws.close(1000);
    await closed(ws, 1000, '');
  },
  async '1 MiB, compression not offered'() {
    const ws = await open([], { perMessageDeflate: false });
    assert.equal(ws.extensions, '');
    await equal(ws, BINARY);
    await equal(ws, TEXT);
    ws.close(1000);
    await closed(ws, 1000, '');
  },
  async 'fragments'() {
    const ws = await open([], { perMessageDeflate: false });
    ws.send(TEXT.slice(0, 1), { fin: false });
    ws.send('', { fin: false });
    ws.ping('in between');
    ws.send(TEXT.slice(1, 70000), { fin: false });
    ws.send(TEXT.slice(70000), { fin: true });
    assert.equal(await ws.next(), TEXT);
    ws.close(1000);
    await closed(ws, 1000, '');
  },
  async '1000 messages pipelined'() {
    const ws = await open();
    for (let n = 0; n < 1000; n++) ws.send(`message ${n}`);
    for (let n = 0; n < 1000; n++) assert.equal(await ws.next(), `message ${n}`);
    ws.close(1000);
    await closed(ws, 1000, '');
  },
  async 'ping'() {
    const ws = await open();
    for (const payload of ['', 'are you there', 'x'.repeat(125)]) {
      const pong = new Promise((yes) => ws.once('pong', (data) => yes(data.toString())));
      ws.ping(payload);
      assert.equal(await within(5000, pong, 'pong'), payload);
    }
    ws.close(1000);
    await closed(ws, 1000, '');
  },
  async 'close code and reason'() {
    const ws = await open();
    ws.close(4001, 'bye, grüße');
    const [code] = await within(5000, ws.closed, 'close');
    assert.equal(code, 4001);
  },
  async 'subprotocol'() {
    const ws = await open(['chat.v2', 'chat.v1']);
    assert.equal(ws.protocol, 'chat.v2');
    ws.close(1000);
    await closed(ws, 1000, '');
  },
  'wrong: text that is not UTF-8': wrong(1007, [0x81, 0x82], MASK, [0xc3, 0x28]),
  'wrong: bad byte in an unfinished frame': wrong(1007, [0x81, 0xfe, 0x10, 0x00], MASK, [0xff]),
  'wrong: no mask': wrong(1002, [0x81, 0x05], 'hello'),
  'wrong: reserved bit': wrong(1002, [0xc1, 0x80], MASK),
  'wrong: reserved opcode': wrong(1002, [0x8b, 0x80], MASK),
  'wrong: data inside a fragmented message': wrong(1002, [0x01, 0x80], MASK, [0x81, 0x80], MASK),
  'wrong: 1 TiB announced': wrong(1009, [0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0], MASK),
};

console.log(`version ${version}`);
let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try {
    await within(30000, run(), 'case');
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}: ${String(error.message).replaceAll('\n', ' ')}`);
  }
}
process.exit(failed ? 1 : 0);
