//! TLS: which certificates are trusted, and what to tell an administrator about one that is not.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use serde::Serialize;
use sha2::{Digest, Sha256};
use sync_core::directory::{DirectoryError, DirectoryErrorKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::errors::error;
use crate::settings::ServerSettings;

/// A certificate as shown to an administrator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateInfo {
    /// Distinguished name of its holder.
    pub subject: String,
    /// Distinguished name of who signed it.
    pub issuer: String,
    /// First moment of its validity, UTC, `YYYY-MM-DD HH:MM:SS`.
    pub not_before: String,
    /// Last moment of its validity, in the same form.
    pub not_after: String,
    /// SHA-256 of its DER form, lower-case hex: what an administrator pins.
    pub sha256: String,
    /// The names it is valid for, from its subjectAltName extension.
    pub subject_alt_names: Vec<String>,
    /// The certificate itself.
    pub pem: String,
    /// Last moment of its validity as Unix time in milliseconds.
    #[serde(skip)]
    pub(crate) expires: i64,
}

impl CertificateInfo {
    /// Describes a DER certificate; one that cannot be parsed is shown by its fingerprint alone.
    fn describe(der: &[u8]) -> CertificateInfo {
        let mut info = CertificateInfo {
            subject: String::new(),
            issuer: String::new(),
            not_before: String::new(),
            not_after: String::new(),
            sha256: hex(&fingerprint(der)),
            subject_alt_names: Vec::new(),
            pem: pem(der),
            expires: i64::MAX,
        };
        if let Ok((_, certificate)) = X509Certificate::from_der(der) {
            info.subject = certificate.subject().to_string();
            info.issuer = certificate.issuer().to_string();
            info.not_before = date(certificate.validity().not_before);
            info.not_after = date(certificate.validity().not_after);
            info.expires = certificate.validity().not_after.timestamp().saturating_mul(1000);
            info.subject_alt_names = alternative_names(&certificate);
        }
        info
    }
}

fn date(time: x509_parser::time::ASN1Time) -> String {
    let time = time.to_datetime();
    let (month, day) = (u8::from(time.month()), time.day());
    format!("{:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", time.year(), time.hour(), time.minute(), time.second())
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else { return Vec::new() };
    extension
        .value
        .general_names
        .iter()
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            GeneralName::IPAddress([a, b, c, d]) => Some(format!("{a}.{b}.{c}.{d}")),
            GeneralName::IPAddress(bytes) => {
                let bytes: [u8; 16] = (*bytes).try_into().ok()?;
                Some(std::net::Ipv6Addr::from(bytes).to_string())
            }
            _ => None,
        })
        .collect()
}

/// SHA-256 of a certificate.
fn fingerprint(der: &[u8]) -> [u8; 32] {
    Sha256::digest(der).into()
}

/// Lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// RFC 7468 text of a certificate.
fn pem(der: &[u8]) -> String {
    let encoded = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = encoded.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// The certificates in a PEM text, or a sentence about what is wrong with it.
pub(crate) fn authorities(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let mut found = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
        let certificate = certificate.map_err(|error| format!("the certificate is not readable PEM: {error}"))?;
        let mut store = RootCertStore::empty();
        store.add(certificate.clone()).map_err(|error| format!("a certificate in the PEM text is broken: {error}"))?;
        found.push(certificate);
    }
    if found.is_empty() {
        return Err("the text holds no certificate: it must begin with -----BEGIN CERTIFICATE-----".to_owned());
    }
    Ok(found)
}

fn root_store(settings: &ServerSettings) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    if settings.ca_certificate.trim().is_empty() {
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            log::warn!("a certificate of the system's store cannot be read: {error}");
        }
        store.add_parsable_certificates(system.certs);
        if store.is_empty() {
            return Err("this system has no store of trusted certificates; paste your authority's certificate (PEM) \
                        into the server's settings"
                .to_owned());
        }
        return Ok(store);
    }
    for certificate in authorities(&settings.ca_certificate)? {
        store.add(certificate).map_err(|error| format!("a certificate in the PEM text is broken: {error}"))?;
    }
    Ok(store)
}

/// What is demanded of the server's certificate.
#[derive(Debug)]
enum Demand {
    /// A chain to a trusted authority, valid dates and the host's name.
    Trusted(Arc<WebPkiServerVerifier>),
    /// Exactly this certificate.
    Pinned([u8; 32]),
    /// Nothing: the administrator's explicit choice.
    Nothing,
}

/// Checks the certificate and remembers it, so that it can be shown when it is refused.
#[derive(Debug)]
struct Verifier {
    demand: Demand,
    provider: Arc<CryptoProvider>,
    shown: Mutex<Shown>,
}

#[derive(Clone, Debug, Default)]
struct Shown {
    certificate: Option<CertificateInfo>,
    refused: Option<rustls::Error>,
}

impl Verifier {
    fn new(settings: &ServerSettings) -> Result<Verifier, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let demand = if let Some(pin) = settings.pinned_certificate {
            Demand::Pinned(pin)
        } else if settings.verify_certificate {
            let roots = Arc::new(root_store(settings)?);
            let inner = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build();
            Demand::Trusted(inner.map_err(|error| format!("the trusted certificates cannot be used: {error}"))?)
        } else {
            Demand::Nothing
        };
        Ok(Verifier { demand, provider, shown: Mutex::default() })
    }

    fn shown(&self) -> Shown {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verdict = match &self.demand {
            Demand::Trusted(inner) => {
                inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            Demand::Pinned(pin) if fingerprint(end_entity) == *pin => Ok(ServerCertVerified::assertion()),
            Demand::Pinned(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Demand::Nothing => Ok(ServerCertVerified::assertion()),
        };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.certificate = Some(CertificateInfo::describe(end_entity));
        shown.refused = verdict.as_ref().err().cloned();
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// A handshake that did not succeed.
pub(crate) struct TlsFailure {
    /// What to tell.
    pub error: DirectoryError,
    /// The certificate that was refused, if one was seen.
    pub certificate: Option<CertificateInfo>,
}

impl From<DirectoryError> for TlsFailure {
    fn from(error: DirectoryError) -> Self {
        TlsFailure { error, certificate: None }
    }
}

/// Makes the TLS handshake over `stream`; answers the encrypted stream and the certificate. `endpoint` is `host:port`.
pub(crate) async fn handshake<S: AsyncRead + AsyncWrite + Unpin>(
    settings: &ServerSettings,
    host: &str,
    endpoint: &str,
    stream: S,
) -> Result<(TlsStream<S>, Option<CertificateInfo>), TlsFailure> {
    let bad_settings = |text: String| error(DirectoryErrorKind::Settings, format!("TLS to {endpoint}: {text}"));
    let verifier = Arc::new(Verifier::new(settings).map_err(bad_settings)?);
    if matches!(verifier.demand, Demand::Nothing) {
        log::warn!("the certificate of {endpoint} is not verified, as the server's settings say");
    }
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| bad_settings(format!("\"{host}\" is neither a host name nor an IP address")))?;
    let config = ClientConfig::builder_with_provider(Arc::clone(&verifier.provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| bad_settings(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as Arc<dyn ServerCertVerifier>)
        .with_no_client_auth();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
    let outcome = tokio::time::timeout(settings.timeouts.connect, connecting).await;
    let shown = verifier.shown();
    match outcome {
        Ok(Ok(stream)) => Ok((stream, shown.certificate)),
        Ok(Err(reason)) => Err(explain(settings, endpoint, host, shown, &reason)),
        Err(_) => Err(error(
            DirectoryErrorKind::Tls,
            format!(
                "{endpoint} accepted the connection but did not answer the TLS handshake within {} s: is this a TLS \
                 port? ldaps usually listens on 636, StartTLS is for 389",
                settings.timeouts.connect.as_secs()
            ),
        )
        .into()),
    }
}

fn explain(settings: &ServerSettings, endpoint: &str, host: &str, shown: Shown, reason: &io::Error) -> TlsFailure {
    if let (Some(certificate), Some(refused)) = (&shown.certificate, &shown.refused) {
        let message = format!(
            "the certificate of {endpoint} is not accepted: {} Certificate: {}, issued by {}, valid until {} UTC, \
             SHA-256 {}.",
            refusal(settings, host, certificate, refused),
            certificate.subject,
            certificate.issuer,
            certificate.not_after,
            certificate.sha256
        );
        return TlsFailure { error: error(DirectoryErrorKind::Certificate, message), certificate: shown.certificate };
    }
    let inner = reason.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let message = match inner {
        Some(rustls::Error::InvalidMessage(_)) => format!(
            "{endpoint} does not speak TLS: it answered something else. Is {} the plain port? Choose StartTLS for it, \
             or the TLS port, usually 636",
            settings.port
        ),
        Some(other) => format!("the TLS handshake with {endpoint} failed: {other}"),
        None => format!(
            "{endpoint} closed the connection during the TLS handshake ({reason}). Is {} the plain port? Choose \
             StartTLS for it, or the TLS port, usually 636",
            settings.port
        ),
    };
    TlsFailure { error: error(DirectoryErrorKind::Tls, message), certificate: shown.certificate }
}

/// One or two sentences: why the certificate is refused and what to do.
fn refusal(settings: &ServerSettings, host: &str, certificate: &CertificateInfo, refused: &rustls::Error) -> String {
    use CertificateError as E;
    let rustls::Error::InvalidCertificate(reason) = refused else { return format!("{refused}.") };
    if settings.pinned_certificate.is_some() {
        return "it is not the certificate that was pinned. If the server got a new one, compare the SHA-256 below with \
                the server's and pin it again."
            .to_owned();
    }
    let no_names = certificate.subject_alt_names.is_empty();
    let pin = "If the SHA-256 below is your server's, pin this certificate in the settings";
    match reason {
        E::NotValidForName | E::NotValidForNameContext { .. } if no_names => format!(
            "it has no subjectAltName, so it is valid for no host name (Samba's own certificate is like that). {pin}, or \
             give the server a certificate with a subjectAltName."
        ),
        E::NotValidForName | E::NotValidForNameContext { .. } => format!(
            "it is not valid for \"{host}\" but for {}. Enter one of these names as the server's name.",
            certificate.subject_alt_names.join(", ")
        ),
        E::Expired | E::ExpiredContext { .. } => {
            "it has expired. Renew it on the server, or check this system's clock.".to_owned()
        }
        E::NotValidYet | E::NotValidYetContext { .. } => format!(
            "it is valid only from {} UTC. Check the clocks of this system and of the server.",
            certificate.not_before
        ),
        E::UnknownIssuer | E::BadSignature if no_names => format!(
            "its authority is not trusted, and it has no subjectAltName either, so it would be valid for no host name \
             (Samba's own certificate is like that). {pin}."
        ),
        E::UnknownIssuer | E::BadSignature => format!(
            "its authority is not trusted. Paste the authority's certificate (PEM) into the settings. {pin} instead."
        ),
        // The verifier has a name for this case but hands it over only as text.
        E::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => format!(
            "it is marked as an authority's certificate (CA:TRUE), which a server may not use as its own. {pin}."
        ),
        other => format!("{other}. {pin}."),
    }
}
