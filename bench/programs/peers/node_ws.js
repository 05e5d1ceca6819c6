// node ws, no packets. argv: port
const {WebSocketServer} = require('ws');

const subs = new Set();
const server = new WebSocketServer({host: '127.0.0.1', port: +process.argv[2], perMessageDeflate: false, backlog: 4096});
server.on('connection', (ws, request) => {
  const role = request.headers['iot-io-type'];
  ws.on('error', () => {});
  if (role === 'sub') {
    subs.add(ws);
    ws.on('close', () => subs.delete(ws));
  } else if (role === 'pub') {
    ws.on('message', (data, binary) => { for (const sub of subs) sub.send(data, {binary}); });
  } else {
    ws.on('message', (data, binary) => ws.send(data, {binary}));
  }
});
