// A server of WebSocket that shares no code with ours (ws): what it does is in the path, and what it saw of a connection it
// tells at its end.

import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';

import { WebSocketServer, agreed, options } from './messages.mjs';

const ACTIONS = {
  echo(socket) {
    socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary }));
  },
  fragments(socket) {
    socket.on('message', (data, isBinary) => {
      const middle = data.length >> 1;
      const parts = [data.subarray(0, 1), data.subarray(1, middle), Buffer.of(), data.subarray(middle)];
      // Text may be cut inside a character.
      parts.forEach((part, at) => socket.send(part, { binary: isBinary, fin: at === parts.length - 1 }));
    });
  },
  pings(socket) {
    socket.on('pong', (data) => data.toString() === 'from a server' && socket.send('a pong came'));
    socket.ping('from a server');
  },
  closed(socket) {
    socket.close(4002, 'enough');
  },
  flood(socket) {
    socket.send('x'.repeat(2 << 20));
  },
};

/** Returns a server of HTTP, over TLS where there is a certificate. */
function web() {
  const { PEER_CERT, PEER_KEY } = process.env;
  if (!PEER_CERT) return http.createServer();
  return https.createServer({ cert: readFileSync(PEER_CERT), key: readFileSync(PEER_KEY) });
}

const servers = JSON.parse(process.argv[2]).map((deflate) => {
  const below = web();
  const server = new WebSocketServer({
    server: below,
    maxPayload: 1 << 20,
    perMessageDeflate: deflate ? options(deflate) : false,
    handleProtocols: (protocols) => (protocols.has('second') ? 'second' : false),
  });
  server.on('headers', (headers) => headers.push('x-from: a server'));
  server.on('connection', (socket, request) => {
    const [path, query] = request.url.split('?');
    const told = { path, query, header: request.headers['x-from'], protocol: socket.protocol };
    told.agreed = agreed(socket, 'server', 'client');
    told.failure = null;
    socket.on('error', (error) => (told.failure = error.code));
    socket.on('close', (code, reason) => {
      console.log(JSON.stringify({ ...told, code, reason: reason.toString() }));
    });
    ACTIONS[path.slice(1)](socket);
  });
  return below.listen(0, '127.0.0.1');
});

await Promise.all(servers.map((server) => once(server, 'listening')));
console.log(JSON.stringify(servers.map((server) => server.address().port)));
