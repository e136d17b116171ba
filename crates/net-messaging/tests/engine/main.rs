//! The engine's rules, row by row and without a wall clock wherever no socket is.

mod rig;

mod blockage;
mod order;
mod reading;
