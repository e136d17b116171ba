//! Settings that mean nothing are refused where they are used first, by an error that names the field.

use std::time::Duration;

use net_core::{ErrorKind, Transport};
use net_udp::{Udp, UdpConfig, UdpSocket};

mod rig;

use rig::{at, bound};

#[tokio::test]
async fn settings_that_mean_nothing_are_refused_by_name() {
    let config = UdpConfig::default;
    for (field, config) in [
        ("dscp", UdpConfig { dscp: 64, ..config() }),
        ("idle_timeout", UdpConfig { idle_timeout: Duration::ZERO, ..config() }),
        ("connect_timeout", UdpConfig { connect_timeout: Duration::ZERO, ..config() }),
        ("max_sessions", UdpConfig { max_sessions: 0, ..config() }),
    ] {
        let udp = Udp::new(config);
        let (to, any) = (at("udp://127.0.0.1:9"), at("udp://127.0.0.1:0"));
        let errors = [
            udp.connect(&to).await.map(drop).expect_err(field),
            udp.listen(&any).await.map(drop).expect_err(field),
            udp.listen_many(&any, 2).await.map(drop).expect_err(field),
            UdpSocket::bind_with(([127, 0, 0, 1], 0).into(), &config).map(drop).expect_err(field),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert!(error.report().contains(field), "{}", error.report());
        }
    }
}

#[tokio::test]
async fn a_code_point_of_more_than_six_bits_is_refused() {
    let (near, far) = (bound(), bound());
    near.set_dscp(46).expect("an option");
    assert_eq!(near.set_dscp(64).expect_err("seven bits").kind(), ErrorKind::InvalidConfig);
    near.send_to(b"x", far.local()).await.expect("sent");
    let meta = rig::soon("a datagram", far.recv_meta(&mut [0; 10])).await.expect("received");
    if cfg!(target_os = "linux") {
        assert_eq!(meta.class.dscp, 46, "the one before stays");
    }
}
