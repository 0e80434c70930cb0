// SPDX-License-Identifier: GPL-2.0-only
// store.js PORT: a store that speaks as much of memcached's protocol as its client does. Items are strings and arrays
// of small objects on V8's heap, so that its collector moves them, and buffers; a reader gets what all of them have.
'use strict';
const net = require('net');
const items = new Map();

function answer(socket, name) {
  const { text, parts, buffer } = items.get(name);
  const same = parts.map((part) => part.text).join('') === text && buffer.toString('latin1') === text;
  const data = same ? text : 'text, parts and buffer differ';
  socket.write(`VALUE ${name} 0 ${data.length}\r\n${data}\r\nEND\r\n`, 'latin1');
}

function keep(name, data) {
  const text = data.toString('latin1');
  const parts = text.match(/.{1,512}/gs).map((part) => ({ text: part, size: part.length }));
  items.set(name, { text, parts, buffer: Buffer.from(data) });
}

net.createServer((socket) => {
  let input = Buffer.alloc(0);
  socket.on('error', () => socket.destroy());
  socket.on('data', (data) => {
    input = Buffer.concat([input, data]);
    for (;;) {
      const end = input.indexOf('\r\n');
      if (end < 0) return;
      const words = input.toString('latin1', 0, end).split(' ');
      if (words[0] === 'get') {
        answer(socket, words[1]);
        input = input.subarray(end + 2);
      } else {
        const size = Number(words[4]);
        if (input.length < end + 2 + size + 2) return;
        keep(words[1], input.subarray(end + 2, end + 2 + size));
        socket.write('STORED\r\n');
        input = input.subarray(end + 2 + size + 2);
      }
    }
  });
}).listen(Number(process.argv[2]));
process.on('SIGTERM', () => process.exit(0));
