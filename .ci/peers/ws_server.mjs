// npm `ws` as a server: `node ws_server.mjs HOST:PORT [PARAMETERS]`. See README.md in this folder.
import { createRequire } from 'node:module';
import { constants, deflateRawSync } from 'node:zlib';

const require = createRequire(`${process.env.PEER_HOME}/`);
const { WebSocketServer } = require('ws');
const [host, port] = process.argv[2].split(':');
const perMessageDeflate = process.argv[3] ? { threshold: 0, ...JSON.parse(process.argv[3]) } : true;
// A whole compressed message, without the tail that is never sent.
const deflated = (data) => deflateRawSync(data, { level: 9, finishFlush: constants.Z_SYNC_FLUSH }).subarray(0, -4);

function frame(first, payload) {
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(payload.length));
  return payload.length < 126 ? [first, payload.length, ...payload] : [first, 127, ...length, ...payload];
}

const WRONG = {
  utf8: [0x81, 0x02, 0xc3, 0x28],
  masked: [0x81, 0x85, 0, 0, 0, 0, ...Buffer.from('hello')],
  reserved: [0xc1, 0x05, ...Buffer.from('hello')],
  opcode: [0x83, 0x00],
  big: [0x82, 0x7f, 0, 0, 1, 0, 0, 0, 0, 0],
  length: [0x82, 0x7e, 0x00, 0x05, ...Buffer.from('hello')],
  'deflate-cut': frame(0xc1, deflated('not to its end').subarray(0, -3)),
  'deflate-empty': frame(0xc1, []),
  'deflate-continuation': [...frame(0x41, deflated('one')), ...frame(0xc0, [0])],
  'deflate-bomb': frame(0xc2, deflated(Buffer.alloc(65 << 20))),
};

const server = new WebSocketServer({
  host, port: Number(port), maxPayload: 64 << 20, perMessageDeflate, handleProtocols: (offered) => [...offered][0],
});
server.on('listening', () => {
  console.log(`listening on ws://${host}:${server.address().port}`);
  console.log(`version ${require('ws/package.json').version}`);
});
server.on('connection', (ws, request) => {
  const path = request.url;
  const seen = ws._extensions['permessage-deflate']?.params;
  if (seen) {
    console.log(`agreed ${JSON.stringify([Boolean(seen.server_no_context_takeover), Boolean(seen.client_no_context_takeover),
      seen.server_max_window_bits ?? 15, seen.client_max_window_bits ?? 15])}`);
  }
  const echo = () => ws.on('message', (data, binary) => ws.send(data, { binary }));
  ws.on('error', (error) => console.log(`error ${path} ${error.message}`));
  ws.on('close', (code, reason) => {
    console.log(`closed ${path} ${code === 1006 ? 'none' : code} ${reason}`.trimEnd());
  });
  if (path === '/echo') echo();
  else if (path === '/fragments') {
    ws.on('message', (data, binary) => {
      const third = Math.floor(data.length / 3);
      const cut = [data.subarray(0, third), data.subarray(third, 2 * third), data.subarray(2 * third)];
      cut.forEach((part, n) => ws.send(part, { binary, fin: n === 2 }));
    });
  } else if (path === '/ping') {
    const late = setTimeout(() => console.log(`no pong on ${path}`), 60000);
    ws.once('pong', (data) => {
      clearTimeout(late);
      if (data.toString() !== 'are you there') console.log(`another pong on ${path}`);
    });
    ws.ping('are you there');
    echo();
  } else if (path === '/close') ws.close(4002, 'as agreed');
  else if (path.startsWith('/wrong/')) ws._socket.write(Buffer.from(WRONG[path.slice('/wrong/'.length)]));
});
