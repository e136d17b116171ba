//! What the load generator knows of WebSocket (RFC 6455): the opening handshake, frame headers, masks.
//!
//! Written by hand, so that it shares nothing with the servers: neither code nor what it takes the protocol to be.

use std::io::{self, Read, Write};

use super::exchange;

/// First byte of a whole text message that is compressed (RFC 7692, section 6).
pub(super) const COMPRESSED_TEXT: u8 = 0xC1;
/// First byte of a whole binary message.
pub(super) const BINARY: u8 = 0x82;
/// First byte of a close frame.
const CLOSE: u8 = 0x88;
/// A close frame of status 1000, masked with zeros.
pub(super) const GOODBYE: [u8; 8] = [CLOSE, 0x82, 0, 0, 0, 0, 0x03, 0xE8];

/// The key of the example in RFC 6455, section 1.3, and what must come back for it.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The extension as both sides name it.
const DEFLATE: &str = "permessage-deflate";
/// Longest answer to the opening handshake.
const MAX_RESPONSE: usize = 8 * 1024;

/// Upgrades a connection, offering compression where `deflate` says so.
///
/// # Errors
/// `InvalidData` when the answer is not the one that the key asks for, or when the server takes the offer of compression
/// and there was none, or the other way about.
pub(super) fn upgrade(stream: &mut (impl Read + Write), host: &str, deflate: bool) -> io::Result<()> {
    let offer = if deflate {
        format!(
            "Sec-WebSocket-Extensions: {DEFLATE}; client_no_context_takeover; server_no_context_takeover\r\n"
        )
    } else {
        String::new()
    };
    let request = format!(
        "GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{offer}\r\n"
    );
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut response = Vec::with_capacity(512);
    let mut piece = [0; 512];
    // Nothing can follow it, since nothing was sent that is to be answered.
    while !response.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut piece)?;
        if count == 0 || response.len() > MAX_RESPONSE {
            return Err(exchange::wrong("the server closed, or said too much, instead of the upgrade"));
        }
        response.extend_from_slice(piece.get(..count).unwrap_or_default());
    }
    check(&String::from_utf8_lossy(&response), deflate)
}

fn check(response: &str, deflate: bool) -> io::Result<()> {
    let header = |name: &str| {
        response.lines().filter_map(|line| line.split_once(':')).find_map(|(key, value)| {
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_ascii_lowercase())
        })
    };
    let status = response.lines().next().unwrap_or_default();
    if !status.starts_with("HTTP/1.1 101 ") {
        return Err(exchange::wrong(&format!("the upgrade was answered by {status:?}")));
    }
    if header("sec-websocket-accept").as_deref() != Some(&ACCEPT.to_ascii_lowercase()) {
        return Err(exchange::wrong("the upgrade was answered for another key"));
    }
    let extensions = header("sec-websocket-extensions").unwrap_or_default();
    if extensions.contains(DEFLATE) != deflate || (deflate && !extensions.contains("server_no_context")) {
        return Err(exchange::wrong(&format!("the server agreed on these extensions: {extensions:?}")));
    }
    Ok(())
}

/// Whether `last` is nothing, or one close frame: what may come after [`GOODBYE`].
pub(super) fn is_goodbye(last: &[u8]) -> bool {
    match last {
        [] => true,
        [CLOSE, len, body @ ..] => usize::from(*len) == body.len(),
        _ => false,
    }
}

/// The header of a frame whose first byte is `first`; with `key` it is a masked one.
pub(super) fn header(first: u8, payload_len: usize, key: Option<[u8; 4]>) -> Vec<u8> {
    let masked = if key.is_some() { 0x80 } else { 0 };
    let mut header = vec![first];
    match (u8::try_from(payload_len), u16::try_from(payload_len)) {
        (Ok(short @ ..126), _) => header.push(masked + short),
        (_, Ok(medium)) => {
            header.push(masked + 126);
            header.extend(medium.to_be_bytes());
        }
        _ => {
            header.push(masked + 127);
            header.extend((payload_len as u64).to_be_bytes());
        }
    }
    header.extend(key.unwrap_or_default().get(..if masked > 0 { 4 } else { 0 }).unwrap_or_default());
    header
}

/// Header and payload of the frame that `bytes` begin with and that has no mask, as their lengths; nothing while the header
/// is not there whole.
pub(super) fn lengths(bytes: &[u8]) -> Option<(usize, usize)> {
    Some(match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
        127 => (10, usize::try_from(u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)).ok()?),
        short => (2, usize::from(short)),
    })
}

/// The mask of frame number `sequence`: never zero in any byte, and another one for each of some millions.
pub(super) fn mask_key(sequence: usize) -> [u8; 4] {
    #[expect(clippy::cast_possible_truncation, reason = "a mask needs no more")]
    let spread = (sequence as u32).wrapping_add(1).wrapping_mul(0x9E37_79B1);
    spread.to_be_bytes().map(|byte| byte | 0x04)
}

/// Masks `payload` in place, or takes the mask off.
pub(super) fn mask(payload: &mut [u8], key: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                          sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

    #[test]
    fn only_the_answer_for_the_key_is_an_upgrade() {
        check(ANSWER, false).unwrap();
        assert!(check(&ANSWER.replace("101", "200"), false).is_err());
        assert!(check(&ANSWER.replace("s3p", "s3q"), false).is_err());
    }

    #[test]
    fn compression_is_agreed_on_where_it_is_offered_and_nowhere_else() {
        let agreed = ANSWER.replace(
            "\r\n\r\n",
            "\r\nSec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n\r\n",
        );
        check(&agreed, true).unwrap();
        assert!(check(&agreed, false).is_err());
        assert!(check(ANSWER, true).is_err());
    }

    #[test]
    fn a_header_tells_its_lengths() {
        for (payload_len, header_len) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10)] {
            let bytes = header(BINARY, payload_len, None);
            assert_eq!((bytes.len(), lengths(&bytes)), (header_len, Some((header_len, payload_len))));
            assert_eq!(lengths(bytes.get(..header_len - 1).unwrap()).filter(|_| header_len > 2), None);
            assert_eq!(header(BINARY, payload_len, Some([1, 2, 3, 4])).len(), header_len + 4);
        }
    }

    #[test]
    fn a_mask_put_on_twice_is_none() {
        let mut payload = *b"seven b";
        mask(&mut payload, mask_key(7));
        assert_ne!(payload, *b"seven b");
        mask(&mut payload, mask_key(7));
        assert_eq!(payload, *b"seven b");
    }

    #[test]
    fn a_goodbye_is_one_close_frame_or_nothing() {
        assert!(is_goodbye(&[]) && is_goodbye(&[0x88, 0]) && is_goodbye(&[0x88, 2, 3, 0xE8]));
        assert!(!is_goodbye(&[0x82, 0]) && !is_goodbye(&[0x88, 2, 3]) && !is_goodbye(&[0x88, 0, 0]));
    }
}
