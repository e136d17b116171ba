// A server of WebSocket that shares no code with ours (ws): what it does is in the path, and what it saw of a connection it
// tells at its end.

import { once } from 'node:events';

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

const servers = JSON.parse(process.argv[2]).map((deflate) => {
  const server = new WebSocketServer({
    host: '127.0.0.1',
    port: 0,
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
  return server;
});

await Promise.all(servers.map((server) => once(server, 'listening')));
console.log(JSON.stringify(servers.map((server) => server.address().port)));
