// What clients and servers on `ws` exchange, and what they tell of it.

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';

// Where the packages are is told by the environment: they are no part of this tree.
export const { WebSocket, WebSocketServer } = createRequire(`${process.env.NODE_PEERS}/`)('ws');

const LENGTHS = [0, 1, 125, 126, 65_535, 65_536, 1 << 20];

/** Returns text of so many bytes, with characters of one byte and of two. */
function text(length) {
  const whole = 'Zürich, '.repeat(Math.floor(length / 9));
  return whole + 'x'.repeat(length - Buffer.byteLength(whole));
}

export function messages() {
  // What cannot be compressed becomes longer.
  return LENGTHS.flatMap((length) => [text(length), randomBytes(length - (length >> 6))]);
}

/** Returns what was agreed on compression, seen from the side that sends as `own` and receives as `other`. */
export function agreed(socket, own, other) {
  const { params } = socket._extensions['permessage-deflate'] ?? {};
  if (!params) return null;
  return {
    send_takeover: !params[`${own}_no_context_takeover`],
    recv_takeover: !params[`${other}_no_context_takeover`],
    send_bits: Number(params[`${own}_max_window_bits`] ?? 15),
    recv_bits: Number(params[`${other}_max_window_bits`] ?? 15),
  };
}

/** Gives what happens to a socket, one by one: it listens from the start, so that nothing is missed. */
export class Events {
  #came = [];
  #waiting = [];

  constructor(socket) {
    this.socket = socket;
    const put = (event) => (this.#waiting.shift() ?? ((event) => this.#came.push(event)))(event);
    socket.on('message', (data, isBinary) => put({ message: isBinary ? data : data.toString() }));
    socket.on('pong', (data) => put({ pong: data.toString() }));
    socket.on('error', (error) => put({ error: error.code ?? error.message }));
    socket.on('close', (code, reason) => put({ close: [code, reason.toString()] }));
  }

  async next() {
    return this.#came.shift() ?? new Promise((resolve) => this.#waiting.push(resolve));
  }

  async expect(event) {
    // A deep comparison of a mebibyte is slow.
    const came = await this.next();
    if (Buffer.isBuffer(event.message)) assert(Buffer.isBuffer(came.message) && came.message.equals(event.message));
    else assert.deepEqual(came, event);
  }
}

/** Sends one message in parts. */
export function sendParts(socket, parts) {
  parts.forEach((part, at) => socket.send(part, { fin: at === parts.length - 1 }));
}

/** Names the options of compression as `ws` does, and has it compress every message. */
export function options(deflate) {
  const camel = (name) => name.replace(/_(.)/g, (_, letter) => letter.toUpperCase());
  return { threshold: 0, ...Object.fromEntries(Object.entries(deflate).map(([name, value]) => [camel(name), value])) };
}
