//! Which pages may connect: without a look at it, every page that a browser shows could, with the cookies of its user.

use http::HeaderMap;

/// Which pages may connect to a server, told apart by the header `Origin` that browsers send.
///
/// Who is no browser can send any `Origin` or none, and is let pass without one: this protects the users of browsers, not the
/// server. Source: RFC 6455 §10.2 and RFC 6454.
///
/// # Examples
///
/// ```
/// use net_ws::{OriginPolicy, Ws};
///
/// let ws = Ws::default().with_origins(OriginPolicy::listed(["https://example.org"]));
/// # let _ = ws;
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OriginPolicy {
    /// Pages that come from the host and port that they connect to, as the URI of the request or the header `Host` says; over TLS alone where the connection
    /// is known to be over TLS: at a listener for `wss`, and where the URI of a request says so.
    ///
    /// A page whose name was made to mean this server's address (DNS rebinding) comes from that host, too: where that matters, list
    /// the names that the server has.
    #[default]
    Same,
    /// As [`Same`](Self::Same), of a server that is reached over TLS alone: by way of a proxy that ends it, or of an HTTP server that has
    /// parsed the request.
    SameOverTls,
    /// Pages of these origins, written as browsers do: `https://example.org`, `http://localhost:8080`.
    Listed(Vec<String>),
    /// Every page.
    Any,
}

impl OriginPolicy {
    /// Creates the policy that lets pages of `origins` pass.
    pub fn listed(origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Listed(origins.into_iter().map(Into::into).collect())
    }

    /// Tells whether a request with these headers may connect to `host`; `over_tls`: it is known to have come over TLS.
    pub(crate) fn admits(&self, headers: &HeaderMap, host: &str, over_tls: bool) -> bool {
        let mut origins = headers.get_all(http::header::ORIGIN).into_iter();
        let Some(origin) = origins.next() else { return true };
        // Of several, nobody knows which one a browser has sent.
        let single = origins.next().is_none();
        let Ok(origin) = origin.to_str() else { return matches!(self, Self::Any) };
        match self {
            Self::Any => true,
            Self::Listed(listed) => single && listed.iter().any(|one| one.eq_ignore_ascii_case(origin)),
            Self::Same => single && is_same(origin, host, over_tls),
            Self::SameOverTls => single && is_same(origin, host, true),
        }
    }
}

/// Tells whether a page of `origin` comes from `host`, `over_tls` where it must. Ports may be left out where they are the scheme's.
fn is_same(origin: &str, host: &str, over_tls: bool) -> bool {
    let (default, authority) = if let Some(authority) = origin.strip_prefix("https://") {
        (":443", authority)
    } else if let Some(authority) = origin.strip_prefix("http://").filter(|_| !over_tls) {
        (":80", authority)
    } else {
        return false;
    };
    let bare = |authority: &str| authority.strip_suffix(default).unwrap_or(authority).to_ascii_lowercase();
    bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admits(policy: &OriginPolicy, host: &str, origins: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for origin in origins {
            headers.append("origin", origin.parse().expect("a value"));
        }
        policy.admits(&headers, host, false)
    }

    #[test]
    fn a18_a_page_of_another_origin_is_refused_unless_it_is_listed() {
        let same = OriginPolicy::Same;
        assert!(admits(&same, "example.org", &[]), "no browser");
        assert!(admits(&same, "example.org", &["https://example.org"]));
        assert!(admits(&same, "example.org:443", &["https://EXAMPLE.org"]));
        assert!(admits(&same, "localhost:8080", &["http://localhost:8080"]));
        for origin in [
            "https://evil.org",
            "https://example.org.evil.org",
            "https://example.org:8443",
            "http://example.org:443",
            "null",
            "",
            "file://",
        ] {
            assert!(!admits(&same, "example.org", &[origin]), "{origin}");
        }
        assert!(!admits(&same, "example.org", &["https://example.org", "https://evil.org"]));
        let listed = OriginPolicy::listed(["https://example.org"]);
        assert!(admits(&listed, "api.example.org", &["https://example.org"]));
        assert!(!admits(&listed, "api.example.org", &["https://api.example.org"]));
        assert!(admits(&same, "example.org", &["http://example.org"]), "TLS may end before this server");
        assert!(!admits(&OriginPolicy::SameOverTls, "example.org", &["http://example.org"]));
        assert!(admits(&OriginPolicy::SameOverTls, "example.org", &["https://example.org"]));
        assert!(admits(&OriginPolicy::Any, "example.org", &["https://evil.org"]));
    }
}
