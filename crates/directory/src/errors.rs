//! Sentences for everything that goes wrong with a directory server.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ldap3::{LdapError, LdapResult};
use sync_core::directory::{DirectoryError, DirectoryErrorKind};

use crate::relay::{Failure, Shared};
use crate::settings::{Security, ServerSettings, Vendor};

/// An error of the given kind.
pub(crate) fn error(kind: DirectoryErrorKind, message: impl Into<String>) -> DirectoryError {
    DirectoryError { kind, message: message.into() }
}

/// What is known about a connection when something on it fails.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// `host:port`.
    pub endpoint: String,
    /// The relay's knowledge.
    pub shared: Arc<Shared>,
    /// Protection of the connection.
    pub security: Security,
    /// Time allowed for one answer.
    pub timeout: Duration,
}

impl Link {
    /// Explains why `doing` ("searching for people") brought no answer.
    pub(crate) fn no_answer(&self, doing: &str, reason: &LdapError) -> DirectoryError {
        match reason {
            LdapError::Timeout { .. } => self.too_slow(doing, self.timeout),
            LdapError::FilterParsing => {
                error(DirectoryErrorKind::Settings, format!("the filter used while {doing} does not parse"))
            }
            _ => self.ended(doing),
        }
    }

    /// Explains that an answer did not come within `limit`.
    pub(crate) fn too_slow(&self, doing: &str, limit: Duration) -> DirectoryError {
        let hint = if self.is_silent() { ". If it is a TLS port, choose ldaps for it" } else { "" };
        let text = format!(
            "{} did not answer within {} s while {doing}: the server is overloaded or hangs; nothing was concluded from \
             what it had sent{hint}",
            self.endpoint,
            limit.as_secs_f64()
        );
        error(DirectoryErrorKind::Connection, text)
    }

    /// Whether plain LDAP was spoken and nothing ever came back.
    fn is_silent(&self) -> bool {
        !self.shared.answered.load(Ordering::Relaxed) && self.security != Security::Ldaps
    }

    /// Explains why the connection ended while `doing`.
    fn ended(&self, doing: &str) -> DirectoryError {
        let endpoint = &self.endpoint;
        let silent = self.is_silent();
        match self.shared.failure() {
            Some(Failure::Malformed(text)) => error(
                DirectoryErrorKind::Malformed,
                format!(
                    "{endpoint} sent something that is not LDAP while {doing}: {text}. Is this a directory server?"
                ),
            ),
            Some(Failure::TlsRecord) => error(DirectoryErrorKind::Tls, tls_port(endpoint)),
            Some(Failure::Disconnected(text)) => error(
                DirectoryErrorKind::Connection,
                format!("{endpoint} ended the connection while {doing} and said: {text}"),
            ),
            Some(Failure::Closed | Failure::Broken(_)) if silent => error(
                DirectoryErrorKind::Tls,
                format!("{endpoint} closed the connection without an answer while {doing}. {}", tls_port(endpoint)),
            ),
            Some(Failure::Broken(text)) => error(
                DirectoryErrorKind::Connection,
                format!(
                    "the connection to {endpoint} broke while {doing}: {text}; the answer is incomplete and not used"
                ),
            ),
            Some(Failure::Closed) | None => error(
                DirectoryErrorKind::Connection,
                format!("{endpoint} closed the connection while {doing}; the answer is incomplete and not used"),
            ),
        }
    }

    /// Explains a refused sign-in.
    pub(crate) fn sign_in(&self, settings: &ServerSettings, result: &LdapResult) -> DirectoryError {
        let endpoint = &self.endpoint;
        let login = &settings.login;
        let text = match result.rc {
            8 | 13 => format!(
                "{endpoint} demands encryption before it takes a password (strong authentication required): choose \
                 ldaps (port 636) or StartTLS (port 389)"
            ),
            49 => format!("{endpoint} refuses login \"{login}\": {}", wrong_login(settings.vendor, &result.text)),
            32 | 34 => {
                format!("{endpoint} does not know the login \"{login}\" ({}): it must be a full DN", named(result))
            }
            48 => format!("{endpoint} does not let \"{login}\" sign in with a password ({})", named(result)),
            53 => format!("{endpoint} is unwilling to let \"{login}\" sign in ({})", named(result)),
            51 | 52 => {
                let text = format!("{endpoint} takes no sign-in at the moment ({})", named(result));
                return error(DirectoryErrorKind::Connection, text);
            }
            _ => format!("{endpoint} refuses the sign-in of \"{login}\": {}", named(result)),
        };
        error(DirectoryErrorKind::SignIn, text)
    }

    /// Explains a search that did not end with success.
    pub(crate) fn search(&self, settings: &ServerSettings, base: &str, result: &LdapResult) -> DirectoryError {
        let endpoint = &self.endpoint;
        let (kind, text) = match result.rc {
            3 => (
                DirectoryErrorKind::Limit,
                format!("{endpoint} stopped the search after its time limit: {}", lift(settings)),
            ),
            4 => (
                DirectoryErrorKind::Limit,
                format!(
                    "{endpoint} cut the answer off at its size limit, so the list of people is not complete and is not \
                     used: {}",
                    lift(settings)
                ),
            ),
            11 => (
                DirectoryErrorKind::Limit,
                format!("{endpoint} refuses the search because of an administrative limit: {}", lift(settings)),
            ),
            32 => (DirectoryErrorKind::Base, missing_base(endpoint, base, &result.matched)),
            34 => (
                DirectoryErrorKind::Base,
                format!("{endpoint} says that \"{base}\" is not a valid DN ({})", named(result)),
            ),
            10 => (
                DirectoryErrorKind::Base,
                format!(
                    "{endpoint} does not hold \"{base}\" and refers to {}: check the base DN or connect to that server",
                    if result.refs.is_empty() { "another server".to_owned() } else { result.refs.join(", ") }
                ),
            ),
            1 if settings.login.is_empty() => (
                DirectoryErrorKind::SignIn,
                format!("{endpoint} answers no anonymous searches: enter a login and its password"),
            ),
            8 | 13 | 48 | 49 => {
                (DirectoryErrorKind::SignIn, format!("{endpoint} refuses the search: {}", named(result)))
            }
            51 | 52 => {
                (DirectoryErrorKind::Connection, format!("{endpoint} is busy or unavailable: {}", named(result)))
            }
            _ => (
                DirectoryErrorKind::Other,
                format!("{endpoint} refuses the search below \"{base}\": {}", named(result)),
            ),
        };
        error(kind, text)
    }
}

fn tls_port(endpoint: &str) -> String {
    format!("{endpoint} seems to be a TLS port: choose ldaps for it, or the plain port, usually 389, for StartTLS")
}

fn missing_base(endpoint: &str, base: &str, matched: &str) -> String {
    let hint = if matched.is_empty() {
        "nothing on the way to it exists either, or the login may not see it".to_owned()
    } else {
        format!("what exists of it is \"{matched}\"")
    };
    format!("\"{base}\" does not exist on {endpoint}: {hint}. Check the base DN and the organisational unit")
}

fn lift(settings: &ServerSettings) -> String {
    let login = if settings.login.is_empty() { "the login used here" } else { settings.login.as_str() };
    match settings.vendor {
        Vendor::ActiveDirectory => {
            "raise MaxPageSize or MaxQueryDuration in the LDAP policies (ntdsutil), or narrow the filter".to_owned()
        }
        Vendor::OpenLdap => format!(
            "add `limits dn.exact=\"{login}\" size=unlimited time=unlimited` to slapd's database (olcLimits), or narrow \
             the filter"
        ),
        Vendor::DirectoryServer389 | Vendor::FreeIpa => format!(
            "raise nsSizeLimit, nsLookThroughLimit, nsPagedSizeLimit and nsTimeLimit in the entry of {login}, or narrow \
             the filter"
        ),
    }
}

/// Active Directory hides the reason in the diagnostic message, as a Windows error in hex after "data".
fn wrong_login(vendor: Vendor, diagnostic: &str) -> String {
    let code = diagnostic.split("data ").nth(1).map(|rest| rest.split([',', ' ']).next().unwrap_or_default());
    let reason = match code.unwrap_or_default() {
        "525" => "there is no such user",
        "52e" => "wrong user name or password",
        "530" => "it may not sign in at this time of day",
        "531" => "it may not sign in from this computer",
        "532" => "its password has expired; set a new one in the directory",
        "533" => "the account is disabled",
        "701" => "the account has expired",
        "773" => "its password must be changed before the first sign-in",
        "775" => "the account is locked after too many wrong passwords",
        _ => "wrong login or password",
    };
    let form = if vendor == Vendor::ActiveDirectory {
        "the login may be user@domain, DOMAIN\\user or a full DN"
    } else {
        "the login must be a full DN"
    };
    format!("{reason} (invalidCredentials); {form}")
}

/// Result code with its RFC 4511 name and the server's words.
pub(crate) fn named(result: &LdapResult) -> String {
    let name = match result.rc {
        1 => "operationsError",
        2 => "protocolError",
        3 => "timeLimitExceeded",
        4 => "sizeLimitExceeded",
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        10 => "referral",
        11 => "adminLimitExceeded",
        12 => "unavailableCriticalExtension",
        13 => "confidentialityRequired",
        16 => "noSuchAttribute",
        17 => "undefinedAttributeType",
        18 => "inappropriateMatching",
        19 => "constraintViolation",
        20 => "attributeOrValueExists",
        21 => "invalidAttributeSyntax",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        64 => "namingViolation",
        65 => "objectClassViolation",
        67 => "notAllowedOnRDN",
        80 => "other",
        122 => "assertionFailed",
        _ => "unknown",
    };
    let text = result.text.trim_end_matches(['\0', '\n', ' ']);
    if text.is_empty() {
        format!("result code {} {name}", result.rc)
    } else {
        format!("result code {} {name}: {text}", result.rc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn active_directory_says_why_a_login_is_refused() {
        #[track_caller]
        fn check(code: &str, expected: &str) {
            let diagnostic =
                format!("80090308: LdapErr: DSID-0C09042A, comment: AcceptSecurityContext error, data {code}, v3839");
            let text = wrong_login(Vendor::ActiveDirectory, &diagnostic);
            assert!(text.contains(expected), "{text}");
        }
        check("52e", "wrong user name or password");
        check("532", "password has expired");
        check("533", "disabled");
        check("701", "account has expired");
        check("775", "locked");
        check("773", "must be changed");
        assert!(wrong_login(Vendor::OpenLdap, "").contains("full DN"));
    }

    #[test]
    fn result_codes_are_named() {
        let result = LdapResult { rc: 50, matched: String::new(), text: "no".to_owned(), refs: vec![], ctrls: vec![] };
        assert_eq!(named(&result), "result code 50 insufficientAccessRights: no");
    }
}
