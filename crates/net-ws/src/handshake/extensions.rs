//! Agreeing on extensions: compression, and those of the application's own. Source: RFC 6455 §9.1.

use std::{fmt, sync::Arc};

use crate::{
    DeflateConfig, DeflateInfo,
    deflate::{self, Offered},
};

/// What a server makes of the parameters of an offer: those that it answers, or nothing where it declines.
type Accept = Arc<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// An extension of the application's own, which both sides agree on in the handshake.
///
/// What it means is the application's: once [`WsInfo::extensions`](crate::WsInfo::extensions) tells that it was agreed on, both
/// sides may, say, encrypt what they send. Reserved bits and opcodes it cannot have.
///
/// # Examples
///
/// ```
/// use net_ws::{Extension, Ws};
///
/// let client = Ws::default().with_extension(Extension::new("x-sealed", "key=7"));
/// // A server that takes keys of one digit alone.
/// let server = Ws::default().with_extension(Extension::accepting("x-sealed", |parameters| {
///     (parameters.len() == 5).then(|| parameters.to_owned())
/// }));
/// # let _ = (client, server);
/// ```
#[derive(Clone)]
pub struct Extension {
    name: Box<str>,
    parameters: Box<str>,
    accept: Option<Accept>,
}

impl Extension {
    /// Creates an extension that a client offers with `parameters`, written as in the header (`a=1; b`) or empty, and that a
    /// server accepts as it is offered.
    ///
    /// Neither name nor parameters contain a comma, which ends an extension in the header.
    pub fn new(name: impl Into<Box<str>>, parameters: impl Into<Box<str>>) -> Self {
        Self { name: name.into(), parameters: parameters.into(), accept: None }
    }

    /// Creates an extension that a client offers without parameters; a server asks `accept`, which gives the parameters that
    /// are answered, or declines.
    pub fn accepting(
        name: impl Into<Box<str>>,
        accept: impl Fn(&str) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        Self { accept: Some(Arc::new(accept)), ..Self::new(name, "") }
    }

    fn header(&self, parameters: &str) -> String {
        if parameters.is_empty() { self.name.to_string() } else { format!("{}; {parameters}", self.name) }
    }

    /// Returns what is answered to an offer of this extension.
    fn answer(&self, parameters: &str) -> Option<String> {
        let parameters = match &self.accept {
            Some(accept) => accept(parameters)?,
            None => parameters.to_owned(),
        };
        Some(self.header(&parameters))
    }
}

impl fmt::Debug for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extension")
            .field("name", &self.name)
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// What was agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Agreed {
    pub(crate) deflate: Option<DeflateInfo>,
    /// The application's own, as they stand in the header.
    pub(crate) own: Box<[Box<str>]>,
}

/// An extension as it stands in the header.
struct Written<'v> {
    whole: &'v str,
    name: &'v str,
    /// What stands behind the first semicolon.
    parameters: Option<&'v str>,
}

/// Takes the values of the header apart.
fn each<'v>(values: impl Iterator<Item = &'v str>) -> impl Iterator<Item = Written<'v>> {
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|whole| !whole.is_empty()).map(|whole| {
        let (name, parameters) = match whole.split_once(';') {
            Some((name, parameters)) => (name.trim_end(), Some(parameters.trim_start())),
            None => (whole, None),
        };
        Written { whole, name, parameters }
    })
}

/// Returns what a client offers.
pub(crate) fn offer(own: &[Extension], deflate: Option<Offered>) -> String {
    let own = own.iter().map(|extension| extension.header(&extension.parameters));
    own.chain(deflate.map(Offered::header)).collect::<Vec<_>>().join(", ")
}

/// Returns what a server answers to what is offered, and what that means to it.
pub(crate) fn answer(
    own: &[Extension],
    deflate: Option<&DeflateConfig>,
    offers: &[&str],
) -> (String, Agreed) {
    let offered = |wanted| {
        let named = each(offers.iter().copied()).filter(move |offer| offer.name == wanted);
        named.map(|offer| offer.parameters)
    };
    let taken = own.iter().filter_map(|extension| {
        offered(&*extension.name).find_map(|parameters| extension.answer(parameters.unwrap_or_default()))
    });
    let mut answers: Vec<String> = taken.collect();
    let own = answers.iter().map(|answer| answer.as_str().into()).collect();
    let compression = deflate.and_then(|config| deflate::accept(config, offered(deflate::NAME)));
    let deflate = compression.map(|(answer, agreed)| {
        answers.push(answer);
        agreed
    });
    (answers.join(", "), Agreed { deflate, own })
}

/// Reads what a server answers to what was offered.
///
/// # Errors
///
/// It answers what was not offered: "the client MUST _Fail the WebSocket Connection_". Source: RFC 6455 §4.1.
pub(crate) fn agree<'v>(
    own: &[Extension],
    offered: Option<Offered>,
    answers: impl Iterator<Item = &'v str>,
) -> Result<Agreed, &'static str> {
    let (mut taken, mut compression) = (Vec::new(), None);
    for answer in each(answers) {
        if let Some(offered) = offered.filter(|_| answer.name == deflate::NAME && compression.is_none()) {
            compression = Some(offered.agree(answer.parameters)?);
        } else if own.iter().any(|extension| &*extension.name == answer.name) {
            taken.push(answer.whole.into());
        } else {
            return Err("the server answers an extension that was not offered");
        }
    }
    Ok(Agreed { deflate: compression, own: taken.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> [Extension; 2] {
        let even = |parameters: &str| parameters.ends_with(['0', '2', '4']).then(|| parameters.to_owned());
        [Extension::new("x-plain", ""), Extension::accepting("x-even", even)]
    }

    #[test]
    fn w2_extensions_of_ones_own_are_agreed_on_beside_compression() {
        let client = [Extension::new("x-even", "n=2"), Extension::new("x-other", "")];
        let deflate = DeflateConfig::default();
        let offered = offer(&client, Some(Offered::new(deflate)));
        assert!(offered.starts_with("x-even; n=2, x-other, permessage-deflate;"), "{offered}");
        let (header, theirs) = answer(&server(), Some(&deflate), &[&offered]);
        assert_eq!(theirs.own[..], ["x-even; n=2".into()]);
        let ours = agree(&client, Some(Offered::new(deflate)), [header.as_str()].into_iter());
        let ours = ours.expect("as offered");
        assert_eq!(ours.own, theirs.own);
        assert!(ours.deflate.is_some() && theirs.deflate.is_some());
    }

    #[test]
    fn w2_an_offer_that_is_declined_is_not_answered_and_a_second_one_may_be_taken() {
        let answered = |offers: &str| answer(&server(), None, &[offers]).0;
        assert_eq!(answered("x-even; n=1"), "");
        assert_eq!(answered("x-even; n=1, x-even; n=4"), "x-even; n=4");
        assert_eq!(answered("x-plain; any, permessage-deflate"), "x-plain; any");
    }

    #[test]
    fn w2_what_was_not_offered_is_refused() {
        let own = [Extension::new("x-plain", "")];
        for answers in ["x-even", "permessage-deflate", "x-plain, x-even"] {
            assert!(agree(&own, None, [answers].into_iter()).is_err(), "{answers}");
        }
        let offered = Some(Offered::new(DeflateConfig::default()));
        for answers in
            ["permessage-deflate, permessage-deflate", "permessage-deflate; odd", "bbf-usp-protocol"]
        {
            assert!(agree(&own, offered, [answers].into_iter()).is_err(), "{answers}");
        }
        assert!(agree(&own, None, ["x-plain"].into_iter()).is_ok());
        assert_eq!(agree(&own, None, std::iter::empty()), Ok(Agreed::default()));
    }
}
