//! Fuzz targets: no bytes make frames, the inflater or the negotiation panic, spin or disagree with themselves.
//!
//! With the other tests the committed corpora are replayed, and a moment of random inputs after them.

#[path = "../../net-core/tests/chunked/mod.rs"]
#[allow(dead_code, reason = "the framings of net-core are tested there")]
mod chunked;
mod over;
mod rig;

use http::Request;
use net_ws::{DeflateConfig, Ws, WsConfig};
use over::Side;

/// The first bytes of an input choose the limits and the cuts; the rest is the wire.
fn input(bytes: &[u8]) -> (WsConfig, Vec<usize>, &[u8]) {
    let (settings, wire) =
        bytes.split_first_chunk::<3>().map_or(([0; 3], bytes), |(head, rest)| (*head, rest));
    let sizes = match settings[2] {
        0 => vec![],
        size => vec![usize::from(size), usize::from(size) / 16, 0, 1],
    };
    let max_message_len = if settings[0] == 255 { 1 << 20 } else { usize::from(settings[0]) * 16 };
    let max_fragments = Some(usize::from(settings[1]));
    (WsConfig { max_message_len, max_fragments, ..WsConfig::default() }, sizes, wire)
}

#[test]
fn fuzz_frames() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let (config, sizes, wire) = input(bytes);
        over::agree(Side::Server, &config, false, wire, &sizes);
    });
}

#[test]
fn fuzz_compressed_frames() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let (config, sizes, wire) = input(bytes);
        over::agree(Side::Server, &config, true, wire, &sizes);
    });
}

/// What a client reads: its frames have no mask.
#[test]
fn fuzz_frames_of_a_server() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let (config, sizes, wire) = input(bytes);
        over::agree(Side::Client, &config, false, wire, &sizes);
    });
}

#[test]
fn fuzz_compressed_frames_of_a_server() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let (config, sizes, wire) = input(bytes);
        over::agree(Side::Client, &config, true, wire, &sizes);
    });
}

/// The wire is what a compressed message holds: random bytes are hardly ever a frame around one.
#[test]
fn fuzz_inflate() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let (config, sizes, payload) = input(bytes);
        let wire = rig::raw::masked(0xC2, payload);
        over::agree(Side::Server, &config, true, &wire, &sizes);
    });
}

#[test]
fn fuzz_negotiation() {
    let narrow = DeflateConfig { send_window_bits: 9, recv_window_bits: 10, ..DeflateConfig::default() };
    let config = WsConfig { deflate: Some(narrow), ..WsConfig::default() };
    bolero::check!().for_each(|bytes: &[u8]| {
        let server = Ws::new(config).with_protocols(["a", "b"]);
        let (offer, origin) = bytes.split_at(bytes.len() / 2);
        let request = Request::get("/")
            .header("host", "localhost")
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .header("sec-websocket-extensions", offer)
            .header("sec-websocket-protocol", origin)
            .header("origin", origin)
            .body(());
        if let Ok(request) = request
            && let Ok(upgrade) = server.upgrade(&request)
            && let Some(agreed) = upgrade.info().deflate()
        {
            assert!((8..=9).contains(&agreed.send_window_bits));
        }
    });
}
