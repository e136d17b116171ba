// A client of WebSocket that shares no code with ours (ws): it does what it is told to, and fails where it sees something
// else than it should.

import assert from 'node:assert/strict';

import { Events, WebSocket, agreed, messages, options, sendParts } from './messages.mjs';

const ACTIONS = {
  async echo({ socket, events }) {
    assert.equal(socket.protocol, 'second');
    for (const message of messages()) {
      socket.send(message);
      await events.expect({ message });
    }
    socket.ping('from a client');
    await events.expect({ pong: 'from a client' });
    socket.ping();
    await events.expect({ pong: '' });
    socket.close(4001, 'genüg');
    // The code comes back, the reason was for the other side.
    await events.expect({ close: [4001, ''] });
  },
  async fragments({ socket, events }) {
    for (const parts of [
      ['Z', 'üri', '', 'ch'.repeat(1000)],
      [Buffer.of(0), Buffer.of(), Buffer.alloc(70_000, 255), Buffer.from('end')],
    ]) {
      sendParts(socket, parts);
      const message = Buffer.isBuffer(parts[0]) ? Buffer.concat(parts) : parts.join('');
      await events.expect({ message });
    }
    socket.close(1000);
    await events.expect({ close: [1000, ''] });
  },
  async pings({ socket, events }) {
    await events.expect({ message: 'a pong came' });
    socket.close(1000);
    await events.expect({ close: [1000, ''] });
  },
  async closed({ events }) {
    await events.expect({ close: [4002, 'enough'] });
  },
  async beyond({ socket, events }) {
    socket.send('x'.repeat(2 << 20));
    const { close } = await events.next();
    assert.equal(close[0], 1009);
  },
  async flood({ events }) {
    const { error } = await events.next();
    assert.match(error, /UNSUPPORTED_MESSAGE_LENGTH/);
    assert((await events.next()).close);
  },
};

async function run(plan, action) {
  const socket = new WebSocket(`${plan.to}/${action}?name=7`, ['first', 'second'], {
    headers: { 'x-from': 'a client' },
    maxPayload: 1 << 20,
    perMessageDeflate: plan.deflate ? options(plan.deflate) : false,
  });
  const events = new Events(socket);
  const response = new Promise((resolve) => socket.on('upgrade', resolve));
  await new Promise((resolve) => socket.on('open', resolve));
  assert.equal((await response).headers['x-from'], 'a server');
  const told = agreed(socket, 'client', 'server');
  await ACTIONS[action]({ socket, events });
  console.log(JSON.stringify(told));
}

for (const plan of JSON.parse(process.argv[2])) {
  for (const action of plan.actions) {
    try {
      await run(plan, action);
    } catch (error) {
      console.error(action, plan);
      throw error;
    }
  }
}
