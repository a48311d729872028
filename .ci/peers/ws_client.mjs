// npm `ws` as a client: `node ws_client.mjs URL [--mix COUNT PARAMETERS]` against an echo server, or
// `node ws_client.mjs --broadcast COUNT URL PARAMETERS [URL PARAMETERS ...]` against a broadcast server. See README.md here.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { constants, deflateRawSync } from 'node:zlib';

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
function open(protocols = [], options = {}, to = url) {
  const ws = new WebSocket(to, protocols, { maxPayload: 64 * MIB, ...options });
  const got = [], waiting = [];
  ws.on('message', (data, binary) => {
    const message = binary ? data : data.toString();
    if (waiting.length) waiting.shift()(message); else got.push(message);
  });
  ws.on('error', () => {});
  ws.closed = new Promise((yes) => ws.on('close', (code, reason) => yes([code, reason.toString()])));
  ws.next = () => within(60000, got.length ? Promise.resolve(got.shift()) : new Promise((yes) => waiting.push(yes)), 'message');
  return within(60000, new Promise((yes, no) => {
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

async function closed(ws, code, reason, ms = 60000) {
  const seen = await within(ms, ws.closed, 'close');
  assert.deepEqual(seen, [code, reason]);
}

// A whole compressed message, without the tail that is never sent.
const deflated = (data) => deflateRawSync(data, { level: 9, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);

// Text and binary, 0 to 100 KiB but mostly short, repetitive and random.
function mixed(n) {
  const size = n < 2 ? [100 << 10, 0][n] : Math.floor((100 << 10) * Math.random() ** 3);
  const rows = Array.from({ length: size / 40 + 1 }, (_, line) => `{"id":${n},"line":${line},"name":"grüße, 世界 🌍"}\n`).join('');
  const kinds = [
    () => rows.slice(0, size / 2),
    () => randomBytes(size),
    () => randomBytes(size).map((byte) => 32 + (byte % 95)).toString('latin1'),
    () => Buffer.from(rows).subarray(0, size),
  ];
  return kinds[n % 4]();
}

// What the library took from the answer.
function agreed(ws) {
  const seen = ws._extensions['permessage-deflate']?.params;
  return JSON.stringify(seen ? [Boolean(seen.server_no_context_takeover), Boolean(seen.client_no_context_takeover),
    seen.server_max_window_bits ?? 15, seen.client_max_window_bits ?? 15] : null);
}

// All members connect and take turns sending; each receives all messages, and those of one sender in order.
async function broadcast(count, members) {
  const all = [];
  for (const [to, parameters] of members) {
    const ws = await open([], { perMessageDeflate: parameters && { threshold: 0, ...parameters } }, to);
    console.log(`agreed ${agreed(ws)}`);
    all.push(ws);
  }
  const sent = Array.from({ length: count }, (_, n) => {
    const message = mixed(n);
    return typeof message === 'string' ? `${n} ${message}` : Buffer.concat([Buffer.from(`${n} `), message]);
  });
  sent.forEach((message, n) => all[n % all.length].send(message));
  await Promise.all(all.map(async (ws) => {
    const heard = all.map(() => -1);
    for (let left = count; left > 0; left--) {
      const got = await ws.next();
      const n = Number(got.slice(0, got.indexOf(' ')));
      const same = typeof got === typeof sent[n] && Buffer.from(got).equals(Buffer.from(sent[n]));
      assert.ok(same, `message ${n} came as another`);
      assert.ok(n > heard[n % all.length], `message ${n} came out of its order`);
      heard[n % all.length] = n;
    }
  }));
  for (const ws of all) {
    ws.close(1000);
    await closed(ws, 1000, '');
  }
}

// Sends pipelined messages on one connection with these parameters; prints what the library took from the answer.
async function mix(count, perMessageDeflate) {
  const ws = await open([], { perMessageDeflate: { threshold: 0, ...perMessageDeflate } });
  console.log(`agreed ${agreed(ws)}`);
  const sent = Array.from({ length: count }, (_, n) => mixed(n));
  for (const message of sent) ws.send(message);
  for (const [n, message] of sent.entries()) {
    const got = await ws.next();
    const same = typeof got === typeof message && Buffer.from(got).equals(Buffer.from(message));
    assert.ok(same, `message ${n} of ${message.length} came back as another`);
  }
  ws.close(1000);
  await closed(ws, 1000, '');
}

// Writes bytes past the library; the server's close frame must carry this code and come soon.
const wrong = (code, ...bytes) => wrongWith(false, code, ...bytes);
// The same with compression agreed on; each frame is given as its first byte and its payload.
const wrongDeflate = (code, ...frames) => wrongWith(true, code, ...frames.flatMap(([first, payload]) => {
  const length = payload.length < 126 ? [0x80 | payload.length] : [0xfe, payload.length >> 8, payload.length & 255];
  return [[first, ...length], MASK, payload];
}));
const wrongWith = (perMessageDeflate, code, ...bytes) => async () => {
  const ws = await open([], { perMessageDeflate });
  assert.equal(ws.extensions !== '', perMessageDeflate);
  await equal(ws, 'before');
  ws._socket.write(Buffer.concat(bytes.map((piece) => Buffer.from(piece))));
  const [seen] = await within(60000, ws.closed, 'close');
  assert.equal(seen, code);
};

let cases = {
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
      assert.equal(await within(60000, pong, 'pong'), payload);
    }
    ws.close(1000);
    await closed(ws, 1000, '');
  },
  async 'close code and reason'() {
    const ws = await open();
    ws.close(4001, 'bye, grüße');
    const [code] = await within(60000, ws.closed, 'close');
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
  'wrong: compressed, the tail cut': wrongDeflate(1007, [0xc1, deflated(TEXT.slice(0, 5000)).subarray(0, -3)]),
  'wrong: compressed, no payload': wrongDeflate(1007, [0xc1, []]),
  'wrong: compressed, no payload in fragments': wrongDeflate(1007, [0x42, []], [0x80, []]),
  'wrong: compressed, not UTF-8': wrongDeflate(1007, [0xc1, deflated(Buffer.from([0x61, 0xff]))]),
  'wrong: RSV1 on a continuation': wrongDeflate(1002, [0x41, deflated('one')], [0xc0, [0]]),
  'wrong: RSV1 on a ping': wrongDeflate(1002, [0xc9, []]),
  'wrong: a bomb of 17 MiB': wrongDeflate(1009, [0xc2, deflated(Buffer.alloc(17 * MIB))]),
  'wrong: 1 TiB announced': wrong(1009, [0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0], MASK),
};

if (url === '--broadcast') {
  const [count, ...rest] = process.argv.slice(3);
  const members = rest.flatMap((to, at) => (at % 2 ? [] : [[to, JSON.parse(rest[at + 1])]]));
  cases = { broadcast: () => broadcast(Number(count), members) };
} else if (process.argv[3] === '--mix') {
  cases = { mix: () => mix(Number(process.argv[4]), JSON.parse(process.argv[5])) };
} else console.log(`version ${version}`);
let failed = 0;
for (const [name, run] of Object.entries(cases)) {
  try {
    await within(300000, run(), 'case');
    console.log(`ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}: ${String(error.message).replaceAll('\n', ' ')}`);
  }
}
process.exit(failed ? 1 : 0);
