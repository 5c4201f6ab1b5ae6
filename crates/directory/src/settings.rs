//! What an administrator says about one directory server.

use std::net::IpAddr;
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sync_core::person::Field;

/// Fewest entries asked for in one page of a search.
pub const SMALLEST_PAGE: u32 = 500;
/// Most entries asked for in one page: Active Directory's own `MaxPageSize`.
pub const LARGEST_PAGE: u32 = 1000;

/// The directory product, which decides the stable id, the change mark and the way values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Vendor {
    /// Microsoft Active Directory and Samba AD.
    ActiveDirectory,
    /// OpenLDAP.
    #[serde(rename = "OpenLDAP")]
    OpenLdap,
    /// 389 Directory Server.
    #[serde(rename = "389DirectoryServer")]
    DirectoryServer389,
    /// FreeIPA.
    #[serde(rename = "FreeIPA")]
    FreeIpa,
}

impl Vendor {
    /// The filter for people used when the administrator gave none.
    pub fn default_filter(self) -> &'static str {
        match self {
            Vendor::ActiveDirectory => "(&(objectCategory=person)(objectClass=user))",
            Vendor::OpenLdap => "(objectClass=inetOrgPerson)",
            Vendor::DirectoryServer389 | Vendor::FreeIpa => "(objectClass=person)",
        }
    }
}

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    /// TLS from the first byte, usually port 636.
    Ldaps,
    /// Plain LDAP upgraded by StartTLS (RFC 4511, 4.14) before anything else is sent, usually port 389.
    StartTls,
    /// No encryption.
    None,
}

/// The LDAP attributes that hold a person's values; an empty name means "not mapped".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Full name.
    pub name: String,
    /// Internal number.
    pub number: String,
    /// Mobile number.
    pub mobile: String,
    /// E-mail address.
    pub email: String,
    /// Photo.
    pub photo: String,
    /// SIP secret.
    pub secret: String,
    /// The number by which the company knows the person.
    pub employee_number: String,
    /// Account status; read by its value, see [`crate::account`] for the table.
    pub account_status: String,
}

impl Attributes {
    /// The attribute mapped to `field`; empty when none is.
    pub fn of(&self, field: Field) -> &str {
        match field {
            Field::Name => &self.name,
            Field::Email => &self.email,
            Field::Mobile => &self.mobile,
            Field::Number => &self.number,
            Field::Photo => &self.photo,
            Field::Secret => &self.secret,
        }
    }

    /// The mapped fields with their attributes.
    pub fn mapped(&self) -> Vec<(Field, &str)> {
        let all = Field::ALL.into_iter().map(|field| (field, self.of(field)));
        all.filter(|(_, attribute)| !attribute.is_empty()).collect()
    }

    /// The mapped fields whose values are read as they stand: without the photo and the SIP secret.
    pub fn text_fields(&self) -> Vec<(Field, &str)> {
        self.mapped().into_iter().filter(|(field, _)| !matches!(field, Field::Photo | Field::Secret)).collect()
    }
}

/// How long to wait for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For one address: TCP connection and TLS handshake, each.
    pub connect: Duration,
    /// For each answer, and for each message of a search.
    pub operation: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { connect: Duration::from_secs(10), operation: Duration::from_secs(30) }
    }
}

/// One directory server as configured. `Debug` never shows the password.
#[derive(Clone, Debug)]
pub struct ServerSettings {
    /// The product.
    pub vendor: Vendor,
    /// Host names or addresses, tried in order.
    pub hosts: Vec<String>,
    /// TCP port, the same for every host.
    pub port: u16,
    /// Protection of the connection.
    pub security: Security,
    /// Certificates of the authorities to trust, PEM; empty means the system's store.
    pub ca_certificate: String,
    /// Whether the server's certificate is verified; false is the administrator's explicit choice.
    pub verify_certificate: bool,
    /// SHA-256 of the DER form of the one server certificate that is accepted, whatever its names, chain and dates.
    pub pinned_certificate: Option<[u8; 32]>,
    /// Allows a password to travel unencrypted to a host that is not loopback.
    pub allow_plain: bool,
    /// Bind DN, or for Active Directory also `user@domain` or `DOMAIN\user`; empty for an anonymous session.
    pub login: String,
    /// Its password.
    pub password: SecretString,
    /// Where the directory begins.
    pub base_dn: String,
    /// Where the people are: a DN, or one relative to the base, or the bare name of an organisational unit.
    pub organizational_unit: String,
    /// RFC 4515 filter that finds people; empty means the vendor's own.
    pub user_filter: String,
    /// The mapping.
    pub attributes: Attributes,
    /// Entries per page, [`SMALLEST_PAGE`] to [`LARGEST_PAGE`].
    pub page_size: u32,
    /// Waiting times.
    pub timeouts: Timeouts,
}

impl ServerSettings {
    /// The filter in force: the administrator's or the vendor's.
    pub(crate) fn people_filter(&self) -> &str {
        if self.user_filter.trim().is_empty() { self.vendor.default_filter() } else { self.user_filter.trim() }
    }

    /// Where people are searched for.
    pub(crate) fn search_base(&self) -> String {
        crate::dn::search_base(&self.base_dn, &self.organizational_unit)
    }

    /// The hosts without blanks and brackets.
    pub(crate) fn host_names(&self) -> Vec<String> {
        self.hosts
            .iter()
            .map(|host| host.trim().trim_start_matches('[').trim_end_matches(']').to_owned())
            .filter(|host| !host.is_empty())
            .collect()
    }
}

/// Whether a host name surely means this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}
