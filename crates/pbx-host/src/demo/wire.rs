//! LDAP messages on a stream (RFC 4511, section 5.1). Requests are those of `rasn-ldap`; responses are declared here,
//! because its result codes end before those of later RFCs, such as assertionFailed.

use std::io;

use rasn::prelude::*;
use rasn_ldap::{Controls, LdapDn, LdapMessage, LdapString, SearchResultEntry};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The result codes this directory gives (RFC 4511, appendix A; RFC 4528).
#[derive(AsnType, Encode, Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[rasn(enumerated)]
pub(super) enum Code {
    Success = 0,
    ProtocolError = 2,
    SizeLimitExceeded = 4,
    CompareFalse = 5,
    CompareTrue = 6,
    AuthMethodNotSupported = 7,
    StrongerAuthRequired = 8,
    UnavailableCriticalExtension = 12,
    NoSuchAttribute = 16,
    UndefinedAttributeType = 17,
    InappropriateMatching = 18,
    ConstraintViolation = 19,
    AttributeOrValueExists = 20,
    InvalidAttributeSyntax = 21,
    NoSuchObject = 32,
    InvalidDnSyntax = 34,
    InvalidCredentials = 49,
    InsufficientAccessRights = 50,
    UnwillingToPerform = 53,
    NamingViolation = 64,
    ObjectClassViolation = 65,
    AssertionFailed = 122,
}

/// LDAPResult, with the two fields that an extended response adds.
#[derive(AsnType, Encode, Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) result_code: Code,
    pub(super) matched_dn: LdapDn,
    pub(super) diagnostic_message: LdapString,
    #[rasn(tag(10))]
    pub(super) response_name: Option<OctetString>,
    #[rasn(tag(11))]
    pub(super) response_value: Option<OctetString>,
}

impl Outcome {
    /// A result with its diagnostic message.
    pub(super) fn new(result_code: Code, message: impl Into<String>) -> Outcome {
        Outcome {
            result_code,
            matched_dn: "".into(),
            diagnostic_message: message.into().into(),
            response_name: None,
            response_value: None,
        }
    }

    /// The same result, naming the nearest entry that exists.
    pub(super) fn matched(mut self, dn: &str) -> Outcome {
        self.matched_dn = dn.into();
        self
    }
}

/// The operations a server sends.
#[derive(AsnType, Encode, Debug, Clone, PartialEq, Eq)]
#[rasn(choice)]
pub(super) enum ResponseOp {
    #[rasn(tag(application, 1))]
    Bind(Outcome),
    #[rasn(tag(application, 4))]
    SearchEntry(SearchResultEntry),
    #[rasn(tag(application, 5))]
    SearchDone(Outcome),
    #[rasn(tag(application, 7))]
    Modify(Outcome),
    #[rasn(tag(application, 9))]
    Add(Outcome),
    #[rasn(tag(application, 11))]
    Delete(Outcome),
    #[rasn(tag(application, 13))]
    ModifyDn(Outcome),
    #[rasn(tag(application, 15))]
    Compare(Outcome),
    #[rasn(tag(application, 24))]
    Extended(Outcome),
}

/// The envelope of a response.
#[derive(AsnType, Encode, Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) message_id: u32,
    pub(super) protocol_op: ResponseOp,
    #[rasn(tag(0))]
    pub(super) controls: Option<Controls>,
}

impl Response {
    /// A response without controls.
    pub(super) fn new(message_id: u32, protocol_op: ResponseOp) -> Response {
        Response { message_id, protocol_op, controls: None }
    }

    /// The unsolicited notice that ends a session (RFC 4511, section 4.4.1).
    pub(super) fn disconnection(message: &str) -> Response {
        let mut outcome = Outcome::new(Code::ProtocolError, message);
        outcome.response_name = Some(b"1.3.6.1.4.1.1466.20036".to_vec().into());
        Response::new(0, ResponseOp::Extended(outcome))
    }

    /// The bytes to send.
    pub(super) fn encoded(&self) -> io::Result<Vec<u8>> {
        rasn::ber::encode(self).map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Reads one message of at most `limit` bytes; `None` at the end of the stream. A length that is not definite, or is over
/// the limit, is an error before anything is allocated for it.
pub(super) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> io::Result<Option<LdapMessage>> {
    let mut message = vec![0; 2];
    if stream.read(&mut message[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut message[1..]).await?;
    if message[0] != 0x30 {
        return Err(malformed("a message does not begin with a sequence"));
    }
    let length = match message[1] {
        short @ 0..=0x7f => usize::from(short),
        long @ 0x81..=0x84 => {
            let mut octets = [0; 4];
            let octets = &mut octets[..usize::from(long - 0x80)];
            stream.read_exact(octets).await?;
            message.extend_from_slice(octets);
            octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet))
        }
        _ => return Err(malformed("a message has no usable length")),
    };
    if length > limit {
        return Err(malformed("a message is larger than this server accepts"));
    }
    let header = message.len();
    message.resize(header + length, 0);
    stream.read_exact(&mut message[header..]).await?;
    rasn::ber::decode(&message).map(Some).map_err(|_| malformed("a message cannot be decoded"))
}

fn malformed(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rasn_ldap::{ProtocolOp, ResultCode};

    fn read(bytes: &[u8], limit: usize) -> io::Result<Option<LdapMessage>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(read_message(&mut &bytes[..], limit))
    }

    #[test]
    fn responses_are_those_of_rfc_4511() {
        let outcome = Outcome::new(Code::NoSuchObject, "gone").matched("dc=x");
        let bytes = Response::new(7, ResponseOp::Modify(outcome)).encoded().expect("bytes");
        let message = read(&bytes, bytes.len()).expect("a message").expect("a message");
        let ProtocolOp::ModifyResponse(response) = message.protocol_op else { panic!("{message:?}") };
        assert_eq!(message.message_id, 7);
        assert_eq!(response.0.result_code, ResultCode::NoSuchObject);
        assert_eq!((response.0.matched_dn.as_str(), response.0.diagnostic_message.as_str()), ("dc=x", "gone"));
        let notice = Response::disconnection("why").encoded().expect("bytes");
        let message = read(&notice, notice.len()).expect("a message").expect("a message");
        let ProtocolOp::ExtendedResp(response) = message.protocol_op else { panic!("{message:?}") };
        assert_eq!((message.message_id, response.result_code), (0, ResultCode::ProtocolError));
        assert_eq!(response.response_name.as_deref(), Some(&b"1.3.6.1.4.1.1466.20036"[..]));
    }

    #[test]
    fn assertion_failed_is_encoded_although_the_codec_does_not_know_it() {
        let outcome = Outcome::new(Code::AssertionFailed, "");
        let bytes = Response::new(1, ResponseOp::Modify(outcome)).encoded().expect("bytes");
        assert_eq!(bytes, [0x30, 12, 2, 1, 1, 0x67, 7, 10, 1, 122, 4, 0, 4, 0]);
    }

    #[test]
    fn the_end_and_the_limit_are_told_apart() {
        let bytes = Response::disconnection("why").encoded().expect("bytes");
        assert!(read(&[], 10).expect("the end").is_none());
        let kind = |bytes: &[u8], limit| read(bytes, limit).expect_err("an error").kind();
        assert_eq!(kind(&bytes, bytes.len() - 3), io::ErrorKind::InvalidData);
        assert_eq!(kind(&bytes[..bytes.len() - 1], 1000), io::ErrorKind::UnexpectedEof);
        assert_eq!(kind(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff], 1000), io::ErrorKind::InvalidData);
    }
}
