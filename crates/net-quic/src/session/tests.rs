//! What is only seen from inside.

use net_core::Address;
use quinn::congestion::{Bbr, Cubic, NewReno};

use super::QuicSession;
use crate::{Congestion, Quic, QuicConfig, authority};

fn congestion_of(session: &QuicSession) -> Congestion {
    let state = session.shared().connection().congestion_state().into_any();
    match () {
        () if state.is::<Cubic>() => Congestion::Cubic,
        () if state.is::<NewReno>() => Congestion::NewReno,
        () if state.is::<Bbr>() => Congestion::Bbr,
        () => panic!("another one"),
    }
}

#[tokio::test]
async fn q4_the_congestion_control_is_the_one_that_was_set() {
    let authority = authority::Authority::new("congestion");
    for congestion in [Congestion::Cubic, Congestion::NewReno, Congestion::Bbr] {
        let quic = Quic::new(QuicConfig { congestion, ..QuicConfig::default() })
            .with_server_tls(authority.server().build().expect("settings"))
            .with_client_tls(authority.client().build().expect("settings"));
        let at: Address = "quic://127.0.0.1:0".parse().expect("an address");
        let mut sessions = quic.listen_sessions(&at).await.expect("listening");
        let to = sessions.local().clone();
        let (near, far) = tokio::join!(quic.open(&to), sessions.accept());
        let (near, far) = (near.expect("connected"), far.expect("accepted"));
        assert_eq!((congestion_of(&near), congestion_of(&far)), (congestion, congestion));
    }
}
