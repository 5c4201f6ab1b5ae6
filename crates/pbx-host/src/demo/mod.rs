//! What the demo needs besides the module: a directory with people, and a PBX's database.

pub mod directory;
mod dn;
mod filter;
pub mod ldif;
pub mod pbx;
mod schema;
mod session;
pub mod slapd;
mod store;
mod wire;

use directory::{Access, EmbeddedDirectory, EmbeddedError};
use slapd::{Slapd, SlapdError};

/// The suffix of the demo's directory.
pub const BASE_DN: &str = "dc=example,dc=test";
/// The part of it that holds the people.
pub const PEOPLE_DN: &str = "ou=people,dc=example,dc=test";
/// The account the module binds as.
pub const SERVICE_DN: &str = "cn=pbx,ou=service,dc=example,dc=test";
/// The password of [`SERVICE_DN`]. It protects invented people on the loopback address.
pub const SERVICE_PASSWORD: &str = "demo-only-password";
/// The attributes [`SERVICE_DN`] may write.
pub const WRITABLE: [&str; 4] = ["telephoneNumber", "mobile", "mail", "jpegPhoto"];
/// The demo's company: an LDIF text with its tree, the service account and about 60 people.
pub const PEOPLE_LDIF: &str = include_str!("../../assets/demo/people.ldif");

/// Which directory the demo shall use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Prefer {
    /// slapd when it is installed and can be started, else the embedded directory.
    #[default]
    Auto,
    /// The embedded directory.
    Embedded,
    /// slapd, or an error.
    Slapd,
}

/// The demo's directory, running on the loopback address until it is dropped.
#[derive(Debug)]
pub enum DemoDirectory {
    /// OpenLDAP's server.
    Slapd(Slapd),
    /// Our own.
    Embedded(EmbeddedDirectory),
}

/// Why there is no directory for the demo.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// slapd was asked for and did not start, or did not answer a question.
    #[error(transparent)]
    Slapd(#[from] SlapdError),
    /// The embedded directory did not start.
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
}

impl DemoDirectory {
    /// Starts a directory with the demo's people ([`PEOPLE_LDIF`]).
    pub fn start(prefer: Prefer) -> Result<DemoDirectory, DemoError> {
        DemoDirectory::start_with(prefer, PEOPLE_LDIF)
    }

    /// Starts a directory with the entries of `ldif`. Its first entry must be the suffix, [`SERVICE_DN`] one of the
    /// entries.
    pub fn start_with(prefer: Prefer, ldif: &str) -> Result<DemoDirectory, DemoError> {
        let access = Access { service_dn: SERVICE_DN.to_owned(), writable: WRITABLE.map(str::to_owned).to_vec() };
        match prefer {
            Prefer::Slapd => return Ok(DemoDirectory::Slapd(Slapd::start(ldif, &access)?)),
            Prefer::Auto if Slapd::is_installed() => match Slapd::start(ldif, &access) {
                Ok(slapd) => return Ok(DemoDirectory::Slapd(slapd)),
                Err(error) => log::warn!("the embedded directory is used, because {error}"),
            },
            Prefer::Auto | Prefer::Embedded => {}
        }
        Ok(DemoDirectory::Embedded(EmbeddedDirectory::start(ldif, 0, &access)?))
    }

    /// The host to connect to.
    pub fn host(&self) -> &'static str {
        "127.0.0.1"
    }

    /// The port it listens on, for LDAP without TLS.
    pub fn port(&self) -> u16 {
        match self {
            DemoDirectory::Slapd(slapd) => slapd.port(),
            DemoDirectory::Embedded(embedded) => embedded.port(),
        }
    }

    /// What it is, for people: `slapd 2.5.13` or `embedded directory`.
    pub fn description(&self) -> &str {
        match self {
            DemoDirectory::Slapd(slapd) => slapd.version(),
            DemoDirectory::Embedded(_) => "embedded directory",
        }
    }

    /// Everything in it as it is now, as LDIF with operational attributes.
    pub fn dump_ldif(&self) -> Result<String, DemoError> {
        match self {
            DemoDirectory::Slapd(slapd) => Ok(slapd.dump_ldif()?),
            DemoDirectory::Embedded(embedded) => Ok(embedded.dump_ldif()),
        }
    }

    /// Everything in it as it is now, with operational attributes.
    pub fn entries(&self) -> Result<Vec<ldif::Entry>, DemoError> {
        match self {
            DemoDirectory::Slapd(slapd) => Ok(ldif::parse_ldif(&slapd.dump_ldif()?).map_err(SlapdError::from)?),
            DemoDirectory::Embedded(embedded) => Ok(embedded.entries()),
        }
    }
}
