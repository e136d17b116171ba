//! The engine's rules, row by row and without a wall clock wherever no socket is.

mod duplex;
mod rig;

mod answers;
mod blockage;
mod deadlines;
mod drain;
mod ending;
mod go_away;
mod handlers;
mod ids;
mod limits;
mod listener;
mod memory;
mod order;
mod outbox;
mod reading;
mod reconnection;
mod requests;
mod sessions;
mod sockets;
