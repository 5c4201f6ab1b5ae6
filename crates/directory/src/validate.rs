//! Checks of the settings that need no server.

use secrecy::ExposeSecret;

use crate::settings::{LARGEST_PAGE, SMALLEST_PAGE, Security, ServerSettings, is_loopback};
use crate::{dn, filter, tls};

/// What is wrong with the settings: the field, by its name in `config_save`, and a sentence.
pub fn validate(settings: &ServerSettings) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    hosts(settings, &mut problems);
    certificate(settings, &mut problems);
    login(settings, &mut problems);
    places(settings, &mut problems);
    attributes(settings, &mut problems);
    if let Err(error) = filter::normalise(settings.people_filter()) {
        problems.push(("userFilter", error.to_string()));
    }
    if !(SMALLEST_PAGE..=LARGEST_PAGE).contains(&settings.page_size) {
        problems.push(("pageSize", format!("a page holds {SMALLEST_PAGE} to {LARGEST_PAGE} entries")));
    }
    problems
}

type Problems = Vec<(&'static str, String)>;

fn hosts(settings: &ServerSettings, problems: &mut Problems) {
    let hosts = settings.host_names();
    if hosts.is_empty() {
        problems.push(("serverName", "enter the name or address of the directory server".to_owned()));
    }
    for host in &hosts {
        let is_name = host.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.' | '_'));
        let is_address = host.parse::<std::net::IpAddr>().is_ok();
        if !is_name && !is_address {
            let text = format!("\"{host}\" is not a host name or address; the port and ldap:// do not belong here");
            problems.push(("serverName", text));
        }
    }
    if settings.port == 0 {
        problems.push(("serverPort", "the port is 1 to 65535, usually 636 for ldaps and 389 for StartTLS".to_owned()));
    }
}

fn certificate(settings: &ServerSettings, problems: &mut Problems) {
    if settings.ca_certificate.trim().is_empty() {
        return;
    }
    if let Err(text) = tls::authorities(&settings.ca_certificate) {
        problems.push(("caCertificate", text));
    }
}

fn login(settings: &ServerSettings, problems: &mut Problems) {
    let has_password = !settings.password.expose_secret().is_empty();
    let has_login = !settings.login.trim().is_empty();
    if has_login && !has_password {
        let text = "enter the password: a server takes an empty one as an anonymous session";
        problems.push(("administrativePassword", text.to_owned()));
    }
    if has_password && !has_login {
        problems.push(("administrativeLogin", "enter the login the password belongs to".to_owned()));
    }
    let far = settings.host_names().iter().any(|host| !is_loopback(host));
    if settings.security == Security::None && has_password && far && !settings.allow_plain {
        let text = "without encryption everybody on the network can read the password: choose ldaps or StartTLS, or \
                    allow plain connections";
        problems.push(("allowPlain", text.to_owned()));
    }
}

fn places(settings: &ServerSettings, problems: &mut Problems) {
    let (base, unit) = (settings.base_dn.trim(), settings.organizational_unit.trim());
    if base.is_empty() && !unit.contains('=') {
        problems.push(("baseDN", "enter the base DN, for example dc=example,dc=com".to_owned()));
    } else if !base.is_empty()
        && let Err(text) = dn::check(base)
    {
        problems.push(("baseDN", text));
    }
    if unit.contains('=')
        && let Err(text) = dn::check(unit)
    {
        problems.push(("organizationalUnit", text));
    }
}

fn attributes(settings: &ServerSettings, problems: &mut Problems) {
    let mapped = &settings.attributes;
    let fields = [
        ("userNameAttribute", &mapped.name),
        ("userExtensionAttribute", &mapped.number),
        ("userMobileAttribute", &mapped.mobile),
        ("userEmailAttribute", &mapped.email),
        ("userAvatarAttribute", &mapped.photo),
        ("userAccountControl", &mapped.account_status),
    ];
    for (field, attribute) in fields {
        if !attribute.is_empty() && !filter::is_attribute(attribute) {
            problems.push((field, format!("\"{attribute}\" is not the name of an LDAP attribute")));
        }
    }
    if mapped.name.is_empty() {
        problems.push((
            "userNameAttribute",
            "enter the attribute with the full name, usually displayName or cn".to_owned(),
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Vendor;
    use crate::test_settings;

    #[track_caller]
    fn check(change: impl FnOnce(&mut ServerSettings), field: &str, expected: &str) {
        let mut settings = test_settings(Vendor::OpenLdap);
        assert_eq!(validate(&settings), [], "the settings before the change");
        change(&mut settings);
        let problems = validate(&settings);
        assert_eq!(problems.iter().map(|(field, _)| *field).collect::<Vec<_>>(), [field], "{problems:?}");
        assert!(problems[0].1.contains(expected), "{problems:?}");
    }

    #[test]
    fn each_field_is_checked() {
        check(|s| s.hosts = vec![" ".to_owned()], "serverName", "enter the name");
        check(|s| s.hosts = vec!["ldap://dc1".to_owned()], "serverName", "do not belong here");
        check(|s| s.port = 0, "serverPort", "1 to 65535");
        check(|s| s.ca_certificate = "hello".to_owned(), "caCertificate", "no certificate");
        check(|s| s.password = "".into(), "administrativePassword", "anonymous");
        check(|s| s.login.clear(), "administrativeLogin", "belongs to");
        check(|s| s.base_dn.clear(), "baseDN", "enter the base DN");
        check(|s| s.base_dn = "example.com".to_owned(), "baseDN", "has no \"=\"");
        check(|s| s.organizational_unit = "ou=".to_owned(), "organizationalUnit", "no value");
        check(|s| s.user_filter = "(cn=a".to_owned(), "userFilter", "character 6");
        check(|s| s.attributes.mobile = "my phone".to_owned(), "userMobileAttribute", "not the name");
        check(|s| s.attributes.name.clear(), "userNameAttribute", "displayName");
        check(|s| s.page_size = 5, "pageSize", "500 to 1000");
    }

    #[test]
    fn a_password_in_the_clear_needs_permission() {
        let plain = |s: &mut ServerSettings| {
            s.security = Security::None;
            s.hosts = vec!["dc1.example.test".to_owned()];
        };
        check(plain, "allowPlain", "everybody on the network");
        let mut settings = test_settings(Vendor::OpenLdap);
        plain(&mut settings);
        settings.allow_plain = true;
        assert_eq!(validate(&settings), []);
        settings.allow_plain = false;
        settings.hosts = vec!["127.0.0.1".to_owned(), "[::1]".to_owned(), "localhost".to_owned()];
        assert_eq!(validate(&settings), []);
    }
}
