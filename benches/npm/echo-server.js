// Echo over npm's ws: `node echo-server.js [--level N --window-bits N] HOST:PORT`. permessage-deflate is on if a level
// is given, for messages of any size; all else is the library's default.
'use strict';

const { WebSocketServer } = require('ws');

const words = process.argv.slice(2);
const value = (name) => {
  const at = words.indexOf(name);
  return at < 0 ? undefined : Number(words.splice(at, 2)[1]);
};
const level = value('--level');
const windowBits = value('--window-bits');
const [host, port] = words[0].split(':');
const perMessageDeflate = level !== undefined && {
  threshold: 0,
  serverMaxWindowBits: windowBits,
  clientMaxWindowBits: windowBits,
  zlibDeflateOptions: { level },
};

const server = new WebSocketServer({ host, port: Number(port), perMessageDeflate });
server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
});
server.on('listening', () => console.log(`listening on ${host}:${port}`));
