//! Servers and clients that exchange messages over any transport.
