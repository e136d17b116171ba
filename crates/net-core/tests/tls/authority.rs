//! An authority that makes certificates for tests, good ones and bad ones.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use net_core::tls::{ClientTls, ClientTlsBuilder, Pem, ServerTls, ServerTlsBuilder};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, RevokedCertParams,
    SerialNumber, date_time_ymd,
};

/// The names that a server of a test has.
pub const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// An authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate.
    pub pem: String,
}

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub struct Pair {
    pub chain: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    /// An authority that may vouch for `domain` and what is below it alone.
    pub fn constrained(name: &str, domain: &str) -> Self {
        Self::with(name, |params| {
            params.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName(domain.to_owned())],
                excluded_subtrees: Vec::new(),
            });
        })
    }

    fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let (mut params, key) = Self::params(name);
        change(&mut params);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// An authority that this one vouches for, by a certificate with this serial number.
    pub fn intermediate(&self, name: &str, serial: u64) -> Self {
        let (mut params, key) = Self::params(name);
        params.serial_number = Some(SerialNumber::from(serial));
        params.use_authority_key_identifier_extension = true;
        let pem = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn params(name: &str) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params, KeyPair::generate().expect("a key"))
    }

    /// Makes a certificate for servers and clients, valid for `names`.
    pub fn leaf(&self, names: &[&str]) -> Pair {
        self.issue(names, |_| {})
    }

    /// Makes one that is changed first.
    pub fn issue(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let first = names.first().cloned().unwrap_or_default();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, first);
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let chain = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pair { chain, key: key.serialize_pem() }
    }

    /// Makes one that expired years ago.
    pub fn expired(&self, names: &[&str]) -> Pair {
        self.issue(names, |params| {
            params.not_before = date_time_ymd(2000, 1, 1);
            params.not_after = date_time_ymd(2001, 1, 1);
        })
    }

    /// Makes one with this serial number, by which it can be revoked.
    pub fn numbered(&self, names: &[&str], serial: u64) -> Pair {
        self.issue(names, |params| params.serial_number = Some(SerialNumber::from(serial)))
    }

    /// Makes a list of revoked serial numbers.
    pub fn revoke(&self, serials: &[u64]) -> String {
        self.revoke_until(2100, serials)
    }

    /// Makes a list of revoked serial numbers that is to be replaced by this year.
    pub fn revoke_until(&self, year: i32, serials: &[u64]) -> String {
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).expect("a list").pem().expect("PEM")
    }

    /// A server that shows a certificate of this authority.
    pub fn server(&self) -> ServerTlsBuilder {
        ServerTls::builder().pair(&self.leaf(&LOCAL))
    }

    /// A client that trusts this authority.
    pub fn client(&self) -> ClientTlsBuilder {
        ClientTls::builder().ca(Pem::bytes(self.pem.clone()))
    }
}

/// Builders that take a pair.
pub trait WithPair {
    fn pair(self, pair: &Pair) -> Self;
}

impl WithPair for ServerTlsBuilder {
    fn pair(self, pair: &Pair) -> Self {
        self.certificate(Pem::bytes(pair.chain.clone()), Pem::bytes(pair.key.clone()))
    }
}

impl WithPair for ClientTlsBuilder {
    fn pair(self, pair: &Pair) -> Self {
        self.certificate(Pem::bytes(pair.chain.clone()), Pem::bytes(pair.key.clone()))
    }
}
