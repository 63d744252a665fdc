//! Authorities, and the agents that they vouch for.

use llmd_kvxfer::Tls;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

/// Who signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

/// A certificate and its key.
pub(crate) struct Papers {
    pub(crate) chain: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("ours")
    }

    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// For an agent of this name or address.
    pub(crate) fn papers(&self, name: &str) -> Papers {
        self.signed(CertificateParams::new([name.to_owned()]).unwrap())
    }

    /// For one of which the time is over.
    pub(crate) fn expired(&self, name: &str) -> Papers {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
        self.signed(params)
    }

    /// An agent at this machine's own address, which trusts this authority.
    pub(crate) fn agent(&self) -> Tls {
        self.papers("127.0.0.1").trusting(self)
    }

    fn signed(&self, params: CertificateParams) -> Papers {
        let key = KeyPair::generate().unwrap();
        let chain = params.signed_by(&key, &self.issuer).unwrap().pem();
        Papers { chain, key: key.serialize_pem() }
    }
}

impl Papers {
    pub(crate) fn trusting(&self, authority: &Authority) -> Tls {
        Tls::new(self.chain.as_bytes(), self.key.as_bytes(), authority.pem.as_bytes()).unwrap()
    }
}
