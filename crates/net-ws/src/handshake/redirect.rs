//! Where a redirect leads.

use net_core::{Address, Error, ErrorKind, Host, Result, Scheme};

/// Returns where `from` redirects to: anywhere but from TLS to clear text.
///
/// "When it has the form of a relative reference, the final value is computed by resolving it against the target URI." Source:
/// RFC 9110 §10.2.2.
pub(crate) fn redirected(from: &Address, location: &str) -> Result<Address> {
    let wrong = |why: &'static str| Error::new(ErrorKind::Rejected, "connect").at(from).because(why);
    // What stands behind it is the client's own, of which a connection has no use.
    let location = location.split('#').next().unwrap_or_default();
    let resolved = resolve(from, location);
    let to: Address = resolved.ok_or_else(|| wrong("the server redirects to what is no address"))?.parse()?;
    if !matches!(to.scheme(), Scheme::Ws | Scheme::Wss) {
        return Err(Error::new(ErrorKind::InvalidAddress, "connect").at(&to));
    }
    if *to.host() == Host::Any && *from.host() != Host::Any {
        // It would be this machine.
        return Err(wrong("the server redirects to no host"));
    }
    if from.scheme().is_over_tls() && !to.scheme().is_over_tls() {
        return Err(wrong("the server redirects from TLS to clear text"));
    }
    Ok(to)
}

/// Resolves `location`, which may be relative. Source: RFC 3986 §5.2.
fn resolve(from: &Address, location: &str) -> Option<String> {
    if let Some((scheme, rest)) = location.split_once(':').filter(|(scheme, _)| is_scheme(scheme)) {
        let rest = rest.strip_prefix("//")?;
        return Some(match &*scheme.to_ascii_lowercase() {
            "http" => format!("ws://{rest}"),
            "https" => format!("wss://{rest}"),
            other => format!("{other}://{rest}"),
        });
    }
    if location.starts_with("//") {
        return Some(format!("{}:{location}", from.scheme()));
    }
    let bare = from.to_string();
    let server = bare.strip_suffix(from.path()).unwrap_or(&bare);
    let asked = from.path().split('#').next().unwrap_or_default();
    let path = asked.split('?').next().unwrap_or_default();
    let target = match location.bytes().next() {
        None => asked.to_owned(),
        Some(b'/') => location.to_owned(),
        Some(b'?') => format!("{path}{location}"),
        Some(_) => {
            let (folder, _) = path.rsplit_once('/').unwrap_or_default();
            format!("{folder}/{location}")
        }
    };
    let (path, query) = target.split_at(target.find('?').unwrap_or(target.len()));
    Some(format!("{server}{}{query}", without_dots(path)))
}

/// Tells whether `text`, which stands before a colon, is a scheme. Source: RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Takes the segments `.` and `..` out of a path. Source: RFC 3986 §5.2.4.
fn without_dots(path: &str) -> String {
    let mut kept = Vec::new();
    let mut segments = path.strip_prefix('/').unwrap_or(path).split('/').peekable();
    while let Some(segment) = segments.next() {
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if segments.peek().is_none() {
                    kept.push("");
                }
            }
            _ => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w2_every_form_of_a_location_leads_where_the_rfc_says() {
        let from = "ws://example.org:8080/a/b?q=1";
        for (from, location, to) in [
            (from, "/c", "ws://example.org:8080/c"),
            (from, "/c?x=http://y", "ws://example.org:8080/c?x=http://y"),
            (from, "x/y", "ws://example.org:8080/a/x/y"),
            (from, "../x", "ws://example.org:8080/x"),
            (from, "../../../x/./y/", "ws://example.org:8080/x/y/"),
            (from, ".", "ws://example.org:8080/a/"),
            (from, "?a=1", "ws://example.org:8080/a/b?a=1"),
            (from, "?a=../b", "ws://example.org:8080/a/b?a=../b"),
            (from, "", "ws://example.org:8080/a/b?q=1"),
            (from, "#part", "ws://example.org:8080/a/b?q=1"),
            (from, "x#/part", "ws://example.org:8080/a/x"),
            (from, "x/y:z", "ws://example.org:8080/a/x/y:z"),
            (from, "//host/z", "ws://host/z"),
            (from, "HTTP://host/q", "ws://host/q"),
            (from, "Https://host:1/q#part", "wss://host:1/q"),
            (from, "WSS://host", "wss://host"),
            ("ws://:80/x", "y", "ws://:80/y"),
            ("wss://host", "//other", "wss://other"),
            ("wss://host", "x?y", "wss://host/x?y"),
            ("wss://host?y", "?x", "wss://host/?x"),
            ("wss://[::1]:80/p#part", "", "wss://[::1]:80/p"),
        ] {
            let redirected = redirected(&from.parse().expect("an address"), location);
            let redirected = redirected.unwrap_or_else(|error| panic!("{location}: {}", error.report()));
            assert_eq!(redirected.to_string(), to, "{location}");
        }
        for location in [
            "http:host",
            "localhost:80/x",
            "ftp://host/x",
            "tcp://host:1",
            "//",
            "http://:80/x",
            "http:///x",
            "http://a b/",
        ] {
            assert!(redirected(&from.parse().expect("an address"), location).is_err(), "{location}");
        }
        let over_tls = "wss://host/x".parse().expect("an address");
        assert_eq!(redirected(&over_tls, "HTTP://host/x").expect_err("clear").kind(), ErrorKind::Rejected);
    }
}
