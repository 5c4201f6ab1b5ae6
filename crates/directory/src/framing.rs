//! LDAP messages on the wire: cut out of the byte stream within limits, and checked so that decoding them cannot fail.
//!
//! The LDAP library decodes without limits and panics on messages that break RFC 4511; nothing reaches it that has not
//! passed [`check_answer`].

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::ber::{self, Element};

/// Largest message taken, in bytes.
pub(crate) const MAX_MESSAGE: usize = 16 << 20;
/// Largest search entry that is read past instead of ending the connection, in bytes.
const MAX_SKIPPED: usize = 256 << 20;
/// Deepest nesting of elements in a message.
const MAX_DEPTH: usize = 64;
/// Memory set aside for a message before its bytes have arrived.
const FIRST_RESERVE: usize = 64 << 10;

/// Application tag numbers of RFC 4511, 4.2 to 4.14, as far as they matter here.
pub(crate) mod operation {
    pub(crate) const BIND: u8 = 0;
    pub(crate) const BIND_ANSWER: u8 = 1;
    pub(crate) const SEARCH: u8 = 3;
    pub(crate) const SEARCH_ENTRY: u8 = 4;
    pub(crate) const SEARCH_DONE: u8 = 5;
    pub(crate) const MODIFY: u8 = 6;
    pub(crate) const MODIFY_ANSWER: u8 = 7;
    pub(crate) const SEARCH_REFERENCE: u8 = 19;
    pub(crate) const EXTENDED: u8 = 23;
    pub(crate) const EXTENDED_ANSWER: u8 = 24;
    pub(crate) const INTERMEDIATE: u8 = 25;
}

/// What came out of the stream.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A whole message with its header.
    Message(Vec<u8>),
    /// A search entry larger than [`MAX_MESSAGE`], read past; its size in bytes.
    Skipped(usize),
    /// The other side closed the connection between two messages.
    End,
}

/// Why no message could be read.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// The connection broke, also in the middle of a message.
    Io(io::Error),
    /// The bytes are a TLS record: the port expects TLS.
    TlsRecord,
    /// The bytes break the protocol; the text says how.
    Malformed(String),
}

impl From<io::Error> for FrameError {
    fn from(error: io::Error) -> Self {
        FrameError::Io(error)
    }
}

/// Reads one message.
pub(crate) async fn read_frame<R: AsyncRead + Unpin>(reader: &mut R) -> Result<Frame, FrameError> {
    // A tag, the number of octets of the length, and at most four of them.
    let (mut head, mut held) = ([0u8; 6], 0);
    loop {
        match reader.read_u8().await {
            Ok(byte) => head[held] = byte,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && held == 0 => return Ok(Frame::End),
            Err(error) => return Err(error.into()),
        }
        held += 1;
        let head = &head[..held];
        check_first_bytes(head)?;
        if let Some((_, length)) = ber::header(head).map_err(|text| FrameError::Malformed(text.to_owned()))? {
            return if length > MAX_MESSAGE { skip(reader, length).await } else { fill(reader, head, length).await };
        }
    }
}

fn check_first_bytes(head: &[u8]) -> Result<(), FrameError> {
    match head {
        [ber::SEQUENCE, ..] | [] | [0x15] => Ok(()),
        // A TLS alert or handshake record of version 3.x (RFC 8446, 5.1).
        [0x15 | 0x16, 0x03, ..] => Err(FrameError::TlsRecord),
        [first, ..] => Err(FrameError::Malformed(format!("a message begins with 0x{first:02x} instead of 0x30"))),
    }
}

async fn fill<R: AsyncRead + Unpin>(reader: &mut R, head: &[u8], length: usize) -> Result<Frame, FrameError> {
    let mut message = Vec::with_capacity(head.len() + length.min(FIRST_RESERVE));
    message.extend_from_slice(head);
    let arrived = reader.take(length as u64).read_to_end(&mut message).await?;
    if arrived < length {
        return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(Frame::Message(message))
}

/// Reads past a message that is too large, if it is a search entry: one person's enormous photo must not end the read.
async fn skip<R: AsyncRead + Unpin>(reader: &mut R, length: usize) -> Result<Frame, FrameError> {
    let refuse = || FrameError::Malformed(format!("a message of {length} bytes; at most {MAX_MESSAGE} are taken"));
    if length > MAX_SKIPPED {
        return Err(refuse());
    }
    // Enough for the message id and the tag of the operation, whatever form of length the server prefers.
    let mut start = [0u8; 16];
    reader.read_exact(&mut start).await?;
    let is_entry = ber::element(&start)
        .is_ok_and(|(id, rest)| id.tag == ber::INTEGER && rest.first() == Some(&(0x60 | operation::SEARCH_ENTRY)));
    if !is_entry {
        return Err(refuse());
    }
    let rest = (length - start.len()) as u64;
    let passed = tokio::io::copy(&mut reader.take(rest), &mut tokio::io::sink()).await?;
    if passed < rest {
        return Err(FrameError::Io(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(Frame::Skipped(length))
}

/// A checked answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Message id; 0 is an unsolicited notification.
    pub id: i32,
    /// Application tag number, see [`operation`].
    pub operation: u8,
    /// Result code and diagnostic message, for answers that carry them.
    pub result: Option<(i32, String)>,
}

/// The id and operation of a request of our own.
pub(crate) fn request_kind(message: &[u8]) -> Result<(i32, u8), &'static str> {
    let (envelope, _) = ber::element(message)?;
    let (id, rest) = ber::element(envelope.content)?;
    let (request, _) = ber::element(rest)?;
    Ok((ber::number(id)?, request.tag & 0x1f))
}

/// The operation of a message, and the contents of its controls.
pub(crate) fn parts(message: &[u8]) -> Result<(Element<'_>, &[u8]), &'static str> {
    let (envelope, _) = ber::element(message)?;
    let (_, rest) = ber::element(envelope.content)?;
    let (operation, rest) = ber::element(rest)?;
    let controls = if rest.is_empty() { rest } else { ber::element(rest)?.0.content };
    Ok((operation, controls))
}

/// The value of a control among `controls` (RFC 4511, 4.1.11).
pub(crate) fn control<'a>(controls: &'a [u8], oid: &str) -> Option<&'a [u8]> {
    let controls = ber::elements(controls).ok()?;
    let control = controls.iter().filter_map(|control| ber::elements(control.content).ok());
    let named = control.filter(|parts| parts.first().is_some_and(|name| name.content == oid.as_bytes()));
    named.flatten().skip(1).find(|part| part.tag == ber::OCTET_STRING).map(|value| value.content)
}

/// Checks a message from the server completely: envelope, nesting, result and controls.
pub(crate) fn check_answer(message: &[u8]) -> Result<Answer, &'static str> {
    let (envelope, rest) = ber::element(message)?;
    if envelope.tag != ber::SEQUENCE || !rest.is_empty() {
        return Err("no message envelope");
    }
    let parts = ber::elements(envelope.content)?;
    let [id, answer, more @ ..] = parts.as_slice() else { return Err("a truncated message envelope") };
    if id.tag != ber::INTEGER {
        return Err("a message without an id");
    }
    let id = ber::number(*id)?;
    if answer.tag & 0xc0 != 0x40 {
        return Err("a message without an operation");
    }
    match more {
        [] => (),
        [controls] if controls.tag == 0xa0 => check_controls(controls.content)?,
        // Active Directory puts the name of its Notice of Disconnection outside the operation.
        [name] if name.tag == 0x8a && id == 0 => (),
        _ => return Err("something unexpected after the operation"),
    }
    check_operation(id, *answer)
}

fn check_operation(id: i32, answer: Element<'_>) -> Result<Answer, &'static str> {
    let number = answer.tag & 0x1f;
    if answer.tag & ber::CONSTRUCTED == 0 {
        return Err("an operation without contents");
    }
    ber::check_nesting(answer.content, MAX_DEPTH)?;
    let result = match number {
        operation::SEARCH_ENTRY | operation::SEARCH_REFERENCE | operation::INTERMEDIATE => None,
        operation::BIND_ANSWER | operation::SEARCH_DONE | operation::MODIFY_ANSWER | operation::EXTENDED_ANSWER => {
            Some(check_result(answer.content)?)
        }
        _ => return Err("an unknown operation"),
    };
    Ok(Answer { id, operation: number, result })
}

fn text<'a>(element: Element<'a>) -> Result<&'a str, &'static str> {
    if element.tag & ber::CONSTRUCTED != 0 {
        return Err("a text made of elements");
    }
    std::str::from_utf8(element.content).map_err(|_| "a text that is not UTF-8")
}

/// LDAPResult of RFC 4511, 4.1.9, with what bind and extended answers add.
fn check_result(content: &[u8]) -> Result<(i32, String), &'static str> {
    let parts = ber::elements(content)?;
    let [code, matched, diagnostic, more @ ..] = parts.as_slice() else { return Err("a truncated result") };
    if code.tag != ber::ENUMERATED {
        return Err("a result without a code");
    }
    text(*matched)?;
    let diagnostic = text(*diagnostic)?;
    for part in more {
        match part.tag & 0x1f {
            3 if part.tag & ber::CONSTRUCTED != 0 => {
                for address in ber::elements(part.content)? {
                    text(address)?;
                }
            }
            3 => return Err("a referral without addresses"),
            10 => {
                text(*part)?;
            }
            7 | 11 if part.tag & ber::CONSTRUCTED != 0 => return Err("a value made of elements"),
            _ => (),
        }
    }
    Ok((ber::number(*code)?, diagnostic.to_owned()))
}

/// Controls of RFC 4511, 4.1.11.
fn check_controls(content: &[u8]) -> Result<(), &'static str> {
    for control in ber::elements(content)? {
        if control.tag & ber::CONSTRUCTED == 0 {
            return Err("a control without contents");
        }
        let parts = ber::elements(control.content)?;
        let [name, more @ ..] = parts.as_slice() else { return Err("a control without a name") };
        text(*name)?;
        let tags: Vec<u8> = more.iter().map(|part| part.tag).collect();
        let sound = match tags.as_slice() {
            [] | [ber::OCTET_STRING] => true,
            [ber::BOOLEAN] | [ber::BOOLEAN, ber::OCTET_STRING] => !more[0].content.is_empty(),
            _ => false,
        };
        if !sound {
            return Err("a malformed control");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ber::written as tlv;

    fn message(id: &[u8], operation: u8, content: &[u8], after: &[u8]) -> Vec<u8> {
        tlv(0x30, &[tlv(2, id), tlv(0x60 | operation, content), after.to_vec()].concat())
    }

    fn result(code: u8, text: &[u8]) -> Vec<u8> {
        [tlv(10, &[code]), tlv(4, b""), tlv(4, text)].concat()
    }

    #[track_caller]
    fn check(message: &[u8], expected: Result<(i32, u8), &str>) {
        assert_eq!(check_answer(message).map(|answer| (answer.id, answer.operation)), expected);
    }

    #[test]
    fn sound_answers_pass() {
        check(&message(&[1], 5, &result(0, b""), b""), Ok((1, 5)));
        check(&message(&[0x7f, 0xff, 0xff, 0xff], 4, &tlv(4, &[0xff]), b""), Ok((i32::MAX, 4)));
        check(&message(&[0], 24, &result(52, b"bye"), &tlv(0x8a, b"1.3.6")), Ok((0, 24)));
        let controls = tlv(0xa0, &tlv(0x30, &[tlv(4, b"1.2"), tlv(1, &[255]), tlv(4, b"x")].concat()));
        check(&message(&[2], 1, &result(0, b""), &controls), Ok((2, 1)));
    }

    #[test]
    fn what_would_make_the_decoder_panic_is_refused() {
        check(&tlv(0x30, &tlv(2, &[1])), Err("a truncated message envelope"));
        check(&tlv(0x30, b""), Err("a truncated message envelope"));
        check(&message(&[1], 26, &result(0, b""), b""), Err("an unknown operation"));
        check(&message(&[0xff], 5, &result(0, b""), b""), Err("a negative number"));
        check(&message(&[1, 2, 3, 4, 5], 5, &result(0, b""), b""), Err("a number of more than four octets"));
        check(&message(&[1], 5, &tlv(10, &[0]), b""), Err("a truncated result"));
        check(&message(&[1], 5, &result(0, &[0xff]), b""), Err("a text that is not UTF-8"));
        check(&message(&[1], 5, b"", b""), Err("a truncated result"));
        check(&message(&[1], 5, &result(0, b""), &tlv(0xa0, &tlv(4, b"x"))), Err("a control without contents"));
        let empty_boolean = tlv(0xa0, &tlv(0x30, &[tlv(4, b"1"), tlv(1, b"")].concat()));
        check(&message(&[1], 5, &result(0, b""), &empty_boolean), Err("a malformed control"));
        check(&message(&[1], 5, &result(0, b""), &tlv(0x8a, b"x")), Err("something unexpected after the operation"));
        let deep = (0..70).fold(tlv(4, b""), |inner, _| tlv(0x30, &inner));
        check(&message(&[1], 4, &deep, b""), Err("too many levels of nesting"));
        check(&message(&[1], 4, &[0x30, 0x80, 0, 0], b""), Err("an indefinite length"));
        check(&message(&[1], 4, &[0x04, 0x05, 0], b""), Err("an element longer than what holds it"));
        check(&message(&[1], 4, &[0x1f, 0x81, 0x01, 0], b""), Err("a tag number of more than one octet"));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_check_panic(bytes: Vec<u8>, content: Vec<u8>, number in 0u8..32) {
            let _ = check_answer(&bytes);
            let _ = check_answer(&message(&[1], number, &content, b""));
            let _ = request_kind(&bytes);
        }
    }

    fn read(bytes: &[u8]) -> Result<Frame, FrameError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let mut bytes = bytes;
        runtime.block_on(read_frame(&mut bytes))
    }

    #[test]
    fn frames_are_cut_within_limits() {
        assert!(matches!(read(b""), Ok(Frame::End)));
        assert!(matches!(read(&[0x30, 2, 1, 2, 0x30]), Ok(Frame::Message(bytes)) if bytes == [0x30, 2, 1, 2]));
        assert!(matches!(read(&[0x30, 5, 1]), Err(FrameError::Io(_))));
        assert!(matches!(read(&[0x30]), Err(FrameError::Io(_))));
        assert!(matches!(read(&[0x15, 3, 3, 0, 2]), Err(FrameError::TlsRecord)));
        assert!(matches!(read(b"HTTP/1.1 400"), Err(FrameError::Malformed(_))));
        assert!(matches!(read(&[0x30, 0x80, 0]), Err(FrameError::Malformed(_))));
        assert!(matches!(read(&[0x30, 0x85, 1, 0, 0, 0, 0]), Err(FrameError::Malformed(_))));
        assert!(matches!(read(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]), Err(FrameError::Malformed(_))));
        let promised_only = [&[0x30, 0x84, 0x01, 0x00, 0x00, 0x01, 2, 1, 9, 0x65][..], &[0; 64]].concat();
        assert!(matches!(read(&promised_only), Err(FrameError::Malformed(_))), "a result of 16 MiB is no entry");
    }

    #[test]
    fn an_enormous_entry_is_read_past() {
        let length = MAX_MESSAGE + 1;
        let mut bytes = vec![0x30, 0x84];
        bytes.extend_from_slice(&(length as u32).to_be_bytes());
        let mut body = vec![0u8; length];
        body[..4].copy_from_slice(&[2, 1, 7, 0x64]);
        bytes.extend_from_slice(&body);
        assert!(matches!(read(&bytes), Ok(Frame::Skipped(size)) if size == length));
    }
}
