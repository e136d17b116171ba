//! Framed messages over TCP and Unix-domain sockets.
