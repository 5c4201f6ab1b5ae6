//! Which servers are trusted, and what is said about the others.

use directory::{Security, ServerSettings, test_connection};
use sync_core::directory::DirectoryErrorKind;

use crate::support::{self, Certificate, NOW, Slapd, UNLIMITED, crowd, read};

#[track_caller]
fn check(settings: ServerSettings, kind: DirectoryErrorKind, expected: &str) {
    let error = read(settings).expect_err(expected);
    assert_eq!(error.kind, kind, "{}", error.message);
    assert!(error.message.contains(expected), "{} does not say {expected}", error.message);
}

#[test]
fn encrypted_and_plain_ports_are_told_apart() {
    let Some(slapd) = Slapd::start(&crowd(2), UNLIMITED, Certificate::Good) else { return };
    let with = |port, security| {
        let mut settings = slapd.settings();
        (settings.port, settings.security) = (port, security);
        settings
    };
    assert_eq!(read(with(slapd.port, Security::StartTls)).expect("people").entries.len(), 2);
    assert_eq!(read(with(slapd.tls_port, Security::Ldaps)).expect("people").entries.len(), 2);
    check(with(slapd.port, Security::Ldaps), DirectoryErrorKind::Tls, "Choose StartTLS");
    check(with(slapd.tls_port, Security::StartTls), DirectoryErrorKind::Tls, "seems to be a TLS port");
    check(with(slapd.tls_port, Security::None), DirectoryErrorKind::Tls, "seems to be a TLS port");
}

fn hex_bytes(text: &str) -> [u8; 32] {
    let bytes: Vec<u8> = (0..64).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect();
    bytes.try_into().expect("32 bytes")
}

/// A certificate that is refused is shown, and can be pinned.
#[track_caller]
fn check_refused_and_pinned(slapd: &Slapd, settings: &ServerSettings, expected: &str) {
    check(settings.clone(), DirectoryErrorKind::Certificate, expected);
    let steps = test_connection(settings, NOW);
    let last = steps.last().expect("a step");
    assert_eq!((last.step, last.ok), ("tls", false));
    let shown = last.certificate.as_ref().expect("the certificate");
    assert!(last.text.contains(&shown.sha256), "{}", last.text);
    let mut pinned = settings.clone();
    pinned.pinned_certificate = Some(hex_bytes(&shown.sha256));
    assert_eq!(read(pinned.clone()).expect("people").entries.len(), 2);
    (pinned.port, pinned.security) = (slapd.port, Security::StartTls);
    assert_eq!(read(pinned).expect("people").entries.len(), 2);
}

#[test]
fn an_unknown_authority_is_refused() {
    let Some(slapd) = Slapd::start(&crowd(2), UNLIMITED, Certificate::Good) else { return };
    let other = Slapd::start(&crowd(2), UNLIMITED, Certificate::Good).expect("a second server");
    let mut settings = slapd.settings();
    settings.ca_certificate = other.ca.clone();
    check_refused_and_pinned(&slapd, &settings, "authority is not trusted");
    // The system's store does not know the test's authority either.
    settings.ca_certificate.clear();
    let error = read(settings.clone()).expect_err("no trust");
    assert!(matches!(error.kind, DirectoryErrorKind::Certificate | DirectoryErrorKind::Settings), "{}", error.message);
    settings.verify_certificate = false;
    assert_eq!(read(settings).expect("people").entries.len(), 2);
    let mut wrong_pin = slapd.settings();
    wrong_pin.pinned_certificate = Some([7; 32]);
    check(wrong_pin, DirectoryErrorKind::Certificate, "not the certificate that was pinned");
    let mut broken = slapd.settings();
    broken.ca_certificate = "not a certificate".to_owned();
    check(broken, DirectoryErrorKind::Settings, "no certificate");
}

#[test]
fn a_certificate_without_names_is_named_and_can_be_pinned() {
    let Some(slapd) = Slapd::start(&crowd(2), UNLIMITED, Certificate::Nameless) else { return };
    check_refused_and_pinned(&slapd, &slapd.settings(), "has no subjectAltName");
    let mut strange = support::settings(slapd.tls_port, Security::Ldaps);
    strange.ca_certificate = slapd.ca.clone();
    strange.hosts = vec!["localhost".to_owned()];
    check(strange, DirectoryErrorKind::Certificate, "has no subjectAltName");
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let Some(slapd) = Slapd::start(&crowd(2), UNLIMITED, Certificate::OtherHost) else { return };
    check_refused_and_pinned(&slapd, &slapd.settings(), "but for other.example.test");
}

#[test]
fn a_certificate_of_an_authority_is_no_servers_certificate() {
    let Some(slapd) = Slapd::start(&crowd(2), UNLIMITED, Certificate::Authority) else { return };
    check_refused_and_pinned(&slapd, &slapd.settings(), "marked as an authority's certificate");
}

#[test]
fn an_expired_certificate_is_refused() {
    let Some(slapd) = Slapd::start(&crowd(2), UNLIMITED, Certificate::Expired) else { return };
    check_refused_and_pinned(&slapd, &slapd.settings(), "has expired");
}
