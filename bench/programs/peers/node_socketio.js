// node socket.io. argv: port
const http = require('http');
const {Server} = require('socket.io');

const server = http.createServer();
const io = new Server(server, {transports: ['websocket'], perMessageDeflate: false, pingInterval: 60000, pingTimeout: 60000});
io.on('connection', socket => {
  if (socket.handshake.headers['iot-io-type'] === 'sub') socket.join('room');
  socket.on('echo', data => socket.emit('echo', data));
  socket.on('pub', data => io.to('room').emit('pub', data));
});
server.listen({host: '127.0.0.1', port: +process.argv[2], backlog: 4096});
