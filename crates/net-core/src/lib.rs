//! Messages over any transport: the traits, framings and buffers that every protocol shares.
