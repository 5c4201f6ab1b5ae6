//! From a host name to a byte stream that may carry a password: TCP, StartTLS, TLS.

use std::io;
use std::net::SocketAddr;

use sync_core::directory::{DirectoryError, DirectoryErrorKind};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::errors::error;
use crate::framing::{self, Frame, FrameError, operation};
use crate::settings::{Security, ServerSettings};
use crate::tls::{self, CertificateInfo, TlsFailure};

/// StartTLS as message 1: ExtendedRequest with the name 1.3.6.1.4.1.1466.20037 (RFC 4511, 4.14.1).
const START_TLS: &[u8] = b"\x30\x1d\x02\x01\x01\x77\x18\x80\x161.3.6.1.4.1.1466.20037";

/// A byte stream of either kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// `host:port`, IPv6 addresses in brackets.
pub(crate) fn endpoint(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Opens a TCP connection to the first address of `host` that answers.
pub(crate) async fn reach(settings: &ServerSettings, host: &str) -> Result<TcpStream, DirectoryError> {
    let endpoint = endpoint(host, settings.port);
    let limit = settings.timeouts.connect;
    let unreachable = |text: String| error(DirectoryErrorKind::Unreachable, text);
    let addresses: Vec<SocketAddr> = match tokio::time::timeout(limit, tokio::net::lookup_host((host, settings.port)))
        .await
    {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(reason)) => {
            return Err(unreachable(format!(
                "the name \"{host}\" cannot be resolved ({reason}): check its spelling and this system's DNS"
            )));
        }
        Err(_) => return Err(unreachable(format!("DNS gave no address for \"{host}\" within {} s", limit.as_secs()))),
    };
    let mut last = format!("the name \"{host}\" has no address");
    for address in addresses {
        check_plain(settings, &endpoint, address)?;
        match tokio::time::timeout(limit, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Small requests must not wait for each other; a failure costs only time.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(reason)) => last = refused(&endpoint, address, &reason),
            Err(_) => {
                last = format!(
                    "{endpoint} ({}) did not answer within {} s: check the address, the port and the firewalls in between",
                    address.ip(),
                    limit.as_secs_f64()
                );
            }
        }
    }
    Err(unreachable(last))
}

fn refused(endpoint: &str, address: SocketAddr, reason: &io::Error) -> String {
    if reason.kind() == io::ErrorKind::ConnectionRefused {
        return format!(
            "nothing listens on {endpoint} ({}, connection refused): check the port, usually 636 for ldaps and 389 for \
             StartTLS, and that the directory server runs",
            address.ip()
        );
    }
    format!("{endpoint} ({}) cannot be reached: {reason}", address.ip())
}

/// Refuses to send a password in the clear over a network unless the administrator allowed it.
fn check_plain(settings: &ServerSettings, endpoint: &str, address: SocketAddr) -> Result<(), DirectoryError> {
    if settings.security != Security::None
        || settings.login.is_empty()
        || settings.allow_plain
        || address.ip().is_loopback()
    {
        return Ok(());
    }
    Err(error(
        DirectoryErrorKind::Settings,
        format!(
            "the password would travel unencrypted to {endpoint}, so it was not sent: choose ldaps or StartTLS, or allow \
             plain connections in the server's settings"
        ),
    ))
}

/// Protects a TCP connection as the settings say; answers the stream and the server's certificate.
pub(crate) async fn protect(
    settings: &ServerSettings,
    host: &str,
    stream: TcpStream,
) -> Result<(Box<dyn Stream>, Option<CertificateInfo>), TlsFailure> {
    let endpoint = endpoint(host, settings.port);
    let stream = match settings.security {
        Security::None => return Ok((Box::new(stream), None)),
        Security::Ldaps => stream,
        Security::StartTls => {
            let limit = settings.timeouts.connect;
            let asked = tokio::time::timeout(limit, start_tls(&endpoint, stream)).await;
            asked.unwrap_or_else(|_| {
                let text = format!(
                    "{endpoint} did not answer StartTLS within {} s. If it is a TLS port, choose ldaps for it; StartTLS is \
                     for the plain port, usually 389",
                    limit.as_secs_f64()
                );
                Err(error(DirectoryErrorKind::Connection, text))
            })?
        }
    };
    let (stream, certificate) = tls::handshake(settings, host, &endpoint, stream).await?;
    Ok((Box::new(stream), certificate))
}

/// Asks for TLS. The answer is read byte by byte, so nothing that was injected behind it survives into the session.
async fn start_tls(endpoint: &str, mut stream: TcpStream) -> Result<TcpStream, DirectoryError> {
    let tls_port = || {
        let text = format!(
            "{endpoint} does not answer LDAP before TLS: it seems to be a TLS port. Choose ldaps for it, or the plain \
             port, usually 389, for StartTLS"
        );
        error(DirectoryErrorKind::Tls, text)
    };
    stream.write_all(START_TLS).await.map_err(|_| tls_port())?;
    let message = match framing::read_frame(&mut stream).await {
        Ok(Frame::Message(message)) => message,
        Ok(Frame::End | Frame::Skipped(_)) | Err(FrameError::Io(_) | FrameError::TlsRecord) => return Err(tls_port()),
        Err(FrameError::Malformed(text)) => {
            let text = format!("{endpoint} sent something that is not LDAP as its answer to StartTLS: {text}");
            return Err(error(DirectoryErrorKind::Malformed, text));
        }
    };
    match framing::check_answer(&message) {
        Ok(framing::Answer { operation: operation::EXTENDED_ANSWER, result: Some((0, _)), .. }) => Ok(stream),
        Ok(framing::Answer { operation: operation::EXTENDED_ANSWER, result: Some((code, text)), .. }) => {
            let text = format!(
                "{endpoint} refuses StartTLS (result code {code}: {}): set up TLS on the server, or choose ldaps",
                text.trim()
            );
            Err(error(DirectoryErrorKind::Tls, text))
        }
        _ => {
            let text = format!("{endpoint} gave no sensible answer to StartTLS");
            Err(error(DirectoryErrorKind::Malformed, text))
        }
    }
}
